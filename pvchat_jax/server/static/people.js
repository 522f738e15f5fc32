// Who is enrolled: the list, adding a pack, and erasing after the name was typed.
import { get, send } from "./api.js";
import { byId, capital, make, report, show } from "./dom.js";

let onChange = () => {};

export function whenPeopleChange(action) {
  onChange = action;
}

function card(person) {
  const consent = person.invented ? "Invented; nobody has to agree." : person.consent_by
    ? `Agreed by ${person.consent_by}, until ${person.consent_until}.` : "No consent.";
  const button = make("button", { type: "button", className: "plain", "aria-label": `Erase ${person.name}` }, "Erase");
  button.addEventListener("click", () => confirmErasure(person.name, button));
  const text = make("div", {}, make("strong", {}, person.name), make("p", { className: "quiet" }, consent));
  if (!person.usable) text.append(make("p", { className: "problem" }, person.note));
  return make("li", {}, text, button);
}

export async function listPeople() {
  const { data, base, can_enrol: canEnrol, enrol_note: note } = await get("/v1/subjects");
  byId("people-list").replaceChildren(...data.map(card));
  byId("people-state").textContent = data.length ? `${data.length === 1 ? "One person" : `${data.length} people`} over the base ${base}.` : "Nobody yet.";
  byId("enrol-note").textContent = capital(note);
  show(byId("enrol-note"), !canEnrol);
  show(byId("wizard"), canEnrol);
  show(byId("wizard-steps"), canEnrol);
  onChange(data.filter((person) => person.usable).map((person) => person.name));
}

function confirmErasure(name, opener) {
  const dialog = byId("erase"), typed = byId("erase-typed"), button = byId("erase-now");
  byId("erase-name").textContent = name;
  typed.value = "";
  button.disabled = true;
  typed.oninput = () => { button.disabled = typed.value.trim().toLowerCase() !== name.toLowerCase(); };
  typed.onkeydown = (event) => { if (event.key === "Enter" && button.disabled) event.preventDefault(); };
  dialog.onclose = () => {
    if (dialog.returnValue === "erase" && !button.disabled) erase(name);
    else opener.focus();
    dialog.returnValue = "";
  };
  dialog.showModal();
  typed.focus();
}

async function erase(name) {
  report("");
  try {
    const { receipt } = await send("DELETE", `/v1/subjects/${encodeURIComponent(name)}?confirm=${encodeURIComponent(name)}`);
    await listPeople();
    byId("people-state").textContent = `${name} is erased; the receipt is ${receipt}.`;
  } catch (error) {
    report(error);
  }
  byId("enrolled-title").setAttribute("tabindex", "-1");
  byId("enrolled-title").focus();
}

byId("pack-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  report("");
  const body = new FormData();
  for (const file of byId("pack-files").files) body.append("files", file, file.name);
  if (byId("pack-by").value) {
    body.append("consent_by", byId("pack-by").value);
    body.append("consent_until", byId("pack-until").value);
  }
  try {
    const person = await send("POST", "/v1/subjects", body);
    event.target.reset();
    await listPeople();
    byId("people-state").textContent = `${person.name} is added.`;
  } catch (error) {
    report(error);
  }
});
