// Puts the parts together.
import { chosenNames, restart, showNames } from "./chat.js";
import { byId, report, show } from "./dom.js";
import { takeUp } from "./enrol.js";
import { listPeople, whenPeopleChange } from "./people.js";
import { listFolder, lookThrough, whenChosen } from "./video.js";

function turnPage() {
  const people = location.hash === "#people";
  show(byId("people"), people);
  show(byId("ask"), !people);
  for (const [id, here] of [["to-people", people], ["to-ask", !people]]) {
    if (here) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
  document.title = people ? "People – PVChat" : "PVChat";
}

window.addEventListener("hashchange", () => {
  turnPage();
  window.scrollTo(0, 0);
  byId("main").focus({ preventScroll: true });
});
whenChosen(restart);
whenPeopleChange(showNames);
byId("look").addEventListener("click", () => lookThrough(chosenNames()));
turnPage();
Promise.all([listPeople(), listFolder(), takeUp()]).catch(report);
