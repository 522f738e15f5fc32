// Small helpers around the document.

export const byId = (id) => document.getElementById(id);

// An element with properties and children; texts are never markup.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function makeSvg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function show(element, visible = true) {
  element.hidden = !visible;
}

export function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${parts.join(":")}` : parts.join(":").replace(/^0/, "");
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export const bare = (name) => name.replace(/^</, "").replace(/>$/, "");

export const capital = (sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1);

// What went wrong, at the top of the page; an empty text takes it away.
export function report(problem) {
  const line = byId("problem");
  line.textContent = capital(problem ? problem.message ?? String(problem) : "");
  show(line, Boolean(problem));
  if (problem) line.scrollIntoView({ block: "nearest" });
}
