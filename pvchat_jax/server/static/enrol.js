// Enrolling somebody in four steps: video, name and consent, learning, result.
import { get, send, upload } from "./api.js";
import { byId, capital, make, percent, report, show } from "./dom.js";
import { listPeople } from "./people.js";

const wizard = byId("wizard"), INTERVAL = 1500, SIGNS = { done: "✓", running: "●", waiting: "○" };
let id = null, timer = null, shownSheet = null;

function go(step) {
  for (const part of wizard.querySelectorAll("[data-step]")) show(part, part.dataset.step === String(step));
  for (const item of byId("wizard-steps").children) {
    if (item.dataset.step === String(step)) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  const place = wizard.querySelector(`[data-step="${step}"]`);
  return place.querySelector("input, h3");
}

function isValid(step) {
  return [...wizard.querySelectorAll(`[data-step="${step}"] input`)].every((input) => input.reportValidity());
}

function inAYear() {
  const date = new Date();
  date.setFullYear(date.getFullYear() + 1);
  return date.toISOString().slice(0, 10);
}

async function start() {
  report("");
  go(3).focus();
  byId("enrol-state").textContent = "Uploading the video…";
  byId("enrol-progress").replaceChildren();
  try {
    const file = await upload(byId("enrol-video").files[0], (share) => {
      byId("enrol-state").textContent = `Uploading the video, ${percent(share)}…`;
    });
    const begun = await send("POST", "/v1/enrolments", {
      video: file.id,
      name: byId("enrol-name").value.trim(),
      consent_by: byId("enrol-by").value.trim(),
      consent_until: byId("enrol-until").value,
      agreed: byId("enrol-agreed").checked,
    });
    id = begun.id;
    update(begun);
  } catch (error) {
    go(2).focus();
    report(error);
  }
}

function stepItem({ name, state, done, total }) {
  const amount = total > 1 ? `${done} of ${total}` : done && state === "running" && total === null ? `${done} so far` : "";
  const words = { done: "done", running: "in progress", waiting: "to come" };
  const item = make("li", { className: state },
    make("span", { "aria-hidden": "true" }, SIGNS[state]),
    make("span", {}, name, make("span", { className: "unseen" }, `: ${words[state]}`)),
    make("span", { className: "quiet" }, amount));
  if (state === "running" && total > 1) item.append(make("progress", { max: total, value: done, "aria-label": name }));
  return item;
}

function showSheet(address) {
  if (address !== shownSheet) {
    shownSheet = address;
    if (address) byId("sheet").src = address;
  }
  show(byId("sheet"), Boolean(address));
}

function update(enrolment) {
  clearTimeout(timer);
  const { state, message, steps } = enrolment;
  byId("enrol-progress").replaceChildren(...steps.map(stepItem));
  const now = steps.find((step) => step.state === "running");
  const words = state === "running" ? `Learning ${enrolment.name}${now ? `, step “${now.name}”` : ""}.` : message;
  if (byId("enrol-state").textContent !== words) byId("enrol-state").textContent = words;
  show(byId("choose"), state === "choose");
  showSheet(enrolment.sheet && `${enrolment.sheet}?state=${state === "choose" ? "choose" : "made"}`);
  if (state === "running") {
    timer = setTimeout(poll, INTERVAL);
  } else if (state !== "choose") {
    finish(enrolment);
  }
}

async function poll() {
  try {
    update(await get(`/v1/enrolments/${id}`));
  } catch (error) {
    report(error);
    timer = setTimeout(poll, 4 * INTERVAL);
  }
}

function finish({ state, message, scores, verdict }) {
  const title = go(4);
  byId("result-title").textContent = state === "done" ? "Enrolled" : "Not enrolled";
  byId("result").textContent = capital(message);
  byId("scores").replaceChildren(...Object.entries(scores).map(([name, share]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, percent(share)))));
  byId("verdict").replaceChildren(...verdict.map((sentence) => make("li", {}, sentence)));
  title.focus();
  if (state === "done") listPeople().catch(report);
}

// Takes up an enrolment that runs since before the page was loaded.
export async function takeUp() {
  byId("enrol-until").value = inAYear();
  const { data } = await get("/v1/enrolments");
  const open = data.find(({ state }) => state === "running" || state === "choose");
  if (!open) return void go(1);
  id = open.id;
  go(3);
  update(open);
}

wizard.addEventListener("submit", (event) => {
  event.preventDefault();
  if (isValid(2)) start();
});
for (const button of wizard.querySelectorAll("[data-go]")) {
  button.addEventListener("click", () => {
    if (button.dataset.go === "1" || isValid(1)) go(Number(button.dataset.go)).focus();
  });
}
byId("choose-person").addEventListener("click", async () => {
  try {
    update(await send("POST", `/v1/enrolments/${id}/person?person=${Number(byId("person").value)}`));
  } catch (error) {
    report(error);
  }
});
byId("enrol-cancel").addEventListener("click", async () => {
  clearTimeout(timer);
  try {
    if (id) update(await send("DELETE", `/v1/enrolments/${id}`));
  } catch (error) {
    report(error);
  }
});
byId("enrol-again").addEventListener("click", () => {
  wizard.reset();
  byId("enrol-until").value = inAYear();
  id = null;
  showSheet(null);
  go(1).focus();
});
