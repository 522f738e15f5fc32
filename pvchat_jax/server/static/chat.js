// The conversation: who is asked about, questions, and answers as they arrive.
import { stream } from "./api.js";
import { bare, byId, make, percent, report, show } from "./dom.js";
import { current, showFrames } from "./video.js";

const log = byId("log"), form = byId("question-form"), field = byId("question");
let turns = []; // earlier messages about this video
let running = null;

export function showNames(names) {
  const known = new Set([...byId("name-list").querySelectorAll("input")].map((box) => box.value));
  const checked = new Set(chosenNames());
  byId("name-list").replaceChildren(...names.map((name) => {
    const box = make("input", { type: "checkbox", value: name, checked: checked.has(name) || (names.length === 1 && !known.has(name)) });
    return make("label", {}, box, bare(name));
  }));
  show(byId("nobody"), names.length === 0);
}

export function chosenNames() {
  return [...byId("name-list").querySelectorAll("input:checked")].map((box) => box.value);
}

export function restart() {
  running?.abort();
  turns = [];
  log.replaceChildren();
  show(byId("clear"), false);
  show(byId("hint"));
}

function messageOf(text) {
  if (turns.length) return { role: "user", content: text };
  return { role: "user", content: [{ type: "video_url", video_url: { url: current.reference } }, { type: "text", text }] };
}

function chips(presence) {
  const words = { present: "is there", absent: "is not there", unsure: "unsure" };
  const items = Object.entries(presence).map(([name, { verdict, probability }]) =>
    make("span", { title: "calibrated probability" }, `${bare(name)}: ${words[verdict]} (${percent(probability)})`));
  return make("div", { className: "who" }, ...items);
}

async function ask(text) {
  const question = messageOf(text);
  const names = chosenNames().map(bare);
  log.append(make("li", { className: "asked" }, make("span", { className: "unseen" }, "You asked: "), text));
  const words = make("span"), item = make("li", { className: "said", "aria-busy": "true" }, words);
  log.append(item);
  show(byId("hint"), false);
  setRunning(new AbortController());
  try {
    const body = { model: names.length ? `pvchat:${names.join(",")}` : "pvchat", messages: [...turns, question] };
    for await (const chunk of stream(body, running.signal)) {
      words.textContent += chunk.choices[0]?.delta.content ?? "";
      if (chunk.pvchat) {
        item.append(chips(chunk.pvchat.presence));
        if (!byId("frames").childElementCount) showFrames(chunk.pvchat.frame_times);
      }
      if (chunk.choices[0]?.finish_reason === "length") words.textContent += " … (cut off)";
      log.scrollTop = log.scrollHeight;
    }
    turns.push(question, { role: "assistant", content: words.textContent });
    byId("announce").textContent = words.textContent;
  } catch (error) {
    const stopped = error.name === "AbortError";
    words.textContent += stopped ? " (stopped)" : ` ${error.message}`;
    item.classList.toggle("failed", !stopped);
    byId("announce").textContent = words.textContent;
  } finally {
    item.removeAttribute("aria-busy");
    setRunning(null);
    show(byId("clear"));
  }
}

function setRunning(controller) {
  running = controller;
  byId("send").disabled = Boolean(controller);
  show(byId("stop"), Boolean(controller));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  report("");
  if (running || !text) return field.focus();
  if (!current.reference) return report(new Error("Choose a video first."));
  field.value = "";
  ask(text);
  field.focus();
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
byId("stop").addEventListener("click", () => { running?.abort(); field.focus(); });
byId("clear").addEventListener("click", () => { restart(); field.focus(); });
