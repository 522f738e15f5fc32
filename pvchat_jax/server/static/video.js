// The video: choosing it, the player, where people are in it, and frames as evidence.
import { get, send, upload } from "./api.js";
import { bare, byId, clock, make, makeSvg, percent, report, show } from "./dom.js";

const player = byId("player");
const HEIGHT = 100, MOMENTS = 3;

export const current = { reference: null, label: "" };
let onChange = () => {};

export function whenChosen(action) {
  onChange = action;
}

export async function listFolder() {
  const select = byId("folder");
  const { data } = await get("/v1/videos");
  select.replaceChildren(make("option", { value: "" }, "Choose…"), ...data.map((path) => make("option", { value: path }, path)));
  show(byId("folder-field"), data.length > 0);
}

export function choose(reference, label) {
  current.reference = reference;
  current.label = label;
  player.src = `/v1/videos/content?video=${encodeURIComponent(reference)}`;
  show(player);
  show(byId("timeline"));
  byId("video-state").textContent = label;
  byId("timeline-state").textContent = "";
  for (const id of ["strips", "moments", "frames"]) byId(id).replaceChildren();
  for (const id of ["evidence", "seen-title"]) show(byId(id), false);
  onChange();
}

async function chooseFile(file) {
  report("");
  show(byId("uploading"));
  byId("video-state").textContent = "";
  try {
    const kept = await upload(file, (share) => { byId("upload-progress").value = share; });
    byId("folder").value = "";
    choose(kept.id, kept.filename);
  } catch (error) {
    byId("video-state").textContent = "The video was not taken.";
    report(error);
  } finally {
    show(byId("uploading"), false);
    byId("upload").value = "";
  }
}

function seek(seconds) {
  player.currentTime = seconds;
  player.scrollIntoView({ block: "nearest" });
}

function frameAddress(seconds) {
  return `/v1/videos/frame?video=${encodeURIComponent(current.reference)}&time=${seconds.toFixed(2)}`;
}

function frameButton(seconds, text, what) {
  const image = make("img", { src: frameAddress(seconds), alt: "", loading: "lazy" });
  const button = make("button", { type: "button", "aria-label": `${what} at ${clock(seconds)}; go there` }, image, text);
  button.addEventListener("click", () => seek(seconds));
  return make("li", {}, button);
}

export function showFrames(times) {
  byId("frames").replaceChildren(...times.map((time) => frameButton(time, clock(time), "Frame")));
  show(byId("seen-title"), times.length > 0);
  show(byId("evidence"));
}

// Neighbouring windows with the same verdict as one stretch.
function stretches(windows, name) {
  const found = [];
  for (const { start, end, presence } of windows) {
    const { verdict, probability } = presence[name];
    const last = found.at(-1);
    if (last && last.verdict === verdict) {
      last.end = end;
      if (probability > last.best) Object.assign(last, { best: probability, at: (start + end) / 2 });
    } else {
      found.push({ start, end, verdict, best: probability, at: (start + end) / 2 });
    }
  }
  return found;
}

function strip(timeline, name) {
  const { seconds, windows } = timeline;
  const picture = makeSvg("svg", { viewBox: `0 0 ${seconds} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const { start, end, presence } of windows) {
    const { probability, verdict } = presence[name];
    const height = 8 + 88 * probability;
    picture.append(makeSvg("rect", { x: start, y: HEIGHT - height, width: (end - start) * 0.96, height, class: verdict }));
  }
  const bar = make("div", { className: "strip-bar" }, picture, make("div", { className: "now" }));
  bar.addEventListener("click", (event) => {
    const box = bar.getBoundingClientRect();
    if (event.target.tagName !== "BUTTON") seek((seconds * (event.clientX - box.left)) / box.width);
  });
  const there = stretches(windows, name).filter(({ verdict }) => verdict === "present");
  for (const { start, end, best } of there) {
    const label = `${bare(name)} is there from ${clock(start)} to ${clock(end)}, at most ${percent(best)}; go there`;
    const button = make("button", { type: "button", "aria-label": label, title: `${clock(start)} – ${clock(end)}` });
    button.style.left = `${(100 * start) / seconds}%`;
    button.style.width = `${(100 * (end - start)) / seconds}%`;
    button.addEventListener("click", () => seek(start));
    bar.append(button);
  }
  const total = there.reduce((sum, { start, end }) => sum + end - start, 0);
  const amount = there.length ? `there for ${clock(total)} of ${clock(seconds)}` : "not seen";
  const title = make("div", { className: "strip-name" }, bare(name), make("span", {}, amount));
  return make("div", { className: "strip", role: "group", "aria-label": `When ${bare(name)} is there` }, title, bar);
}

function legend() {
  const entry = (kind, text) => {
    const sign = makeSvg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" });
    const height = { present: 10, unsure: 6, absent: 2 }[kind];
    sign.append(makeSvg("rect", { y: 10 - height, width: 10, height, class: kind }));
    return make("span", {}, sign, text);
  };
  return make("p", { className: "legend" }, entry("present", "present"), entry("unsure", "unsure"), entry("absent", "absent"),
    "The higher, the likelier.");
}

function moments(timeline, name) {
  const best = stretches(timeline.windows, name).filter(({ verdict }) => verdict === "present").sort((a, b) => b.best - a.best).slice(0, MOMENTS);
  if (!best.length) return [];
  const items = best.map(({ at, best: likely }) => frameButton(at, `${clock(at)}, ${percent(likely)}`, bare(name)));
  return [make("h3", {}, `${bare(name)}, where it is clearest`), make("ul", { className: "frames" }, ...items)];
}

export async function lookThrough(names) {
  const button = byId("look"), state = byId("timeline-state"), asked = current.reference;
  if (!names.length) {
    state.textContent = "Choose somebody to look for.";
    return;
  }
  button.disabled = true;
  state.textContent = "Looking…";
  try {
    const timeline = await send("POST", "/v1/timeline", { video: asked, names: names.map(bare) });
    if (asked !== current.reference) return;
    const found = Object.keys(timeline.windows[0].presence);
    byId("strips").replaceChildren(...found.map((name) => strip(timeline, name)), legend());
    byId("moments").replaceChildren(...found.flatMap((name) => moments(timeline, name)));
    if (byId("moments").childElementCount) show(byId("evidence"));
    state.textContent = `Looked at ${timeline.windows.length} parts of ${clock(timeline.seconds)}.`;
    follow();
  } catch (error) {
    state.textContent = "";
    report(error);
  } finally {
    button.disabled = false;
  }
}

function follow() {
  const share = player.duration ? player.currentTime / player.duration : 0;
  for (const mark of document.querySelectorAll(".now")) mark.style.left = `${100 * share}%`;
}

player.addEventListener("timeupdate", follow);
player.addEventListener("error", () => {
  if (current.reference) byId("video-state").textContent = `${current.label}: this browser cannot play it, but you can ask about it.`;
});
byId("upload").addEventListener("change", (event) => event.target.files[0] && chooseFile(event.target.files[0]));
byId("folder").addEventListener("change", (event) => event.target.value && choose(event.target.value, event.target.value));
