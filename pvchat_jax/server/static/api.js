// Talks to the server; whatever it refuses is an Error with its sentence.
import { byId, capital, show } from "./dom.js";

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function refusalOf(response) {
  let message = `The server answered with ${response.status}.`;
  try {
    message = capital((await response.json()).error.message);
  } catch { /* no JSON: the status has to do */ }
  return new Refused(response.status, message);
}

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached; is it still running?");
  }
  if (response.status === 401 && path !== "/session") {
    await askForKey();
    return request(path, options);
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}

export async function get(path) {
  return (await request(path)).json();
}

export async function send(method, path, body) {
  const options = body === undefined || body instanceof FormData
    ? { method, body }
    : { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

// Uploads with a progress of 0 to 1, which fetch does not tell.
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const form = new FormData();
    form.append("purpose", "user_data");
    form.append("file", file);
    call.open("POST", "/v1/files");
    call.responseType = "json";
    call.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    call.onerror = () => reject(new Error("The upload broke off; is the server still running?"));
    call.onload = () => {
      if (call.status === 200) resolve(call.response);
      else if (call.status === 401) askForKey().then(() => upload(file, onProgress)).then(resolve, reject);
      else reject(new Error(call.response?.error?.message ?? `The server answered with ${call.status}.`));
    };
    call.send(form);
  });
}

// The chunks of a streamed answer.
export async function* stream(body, signal) {
  const response = await request("/v1/chat/completions", {
    method: "POST", body: JSON.stringify({ ...body, stream: true }), headers: { "Content-Type": "application/json" }, signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      yield chunk;
    }
  }
}

let asking = null;

// One dialog, however many requests wait for the key.
function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key"), form = byId("key-form"), problem = byId("key-problem");
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        await send("POST", "/session", { key: byId("key-text").value });
        show(problem, false);
        dialog.close();
        asking = null;
        resolve();
      } catch (error) {
        problem.textContent = error.message;
        show(problem);
      }
    };
    dialog.showModal();
  });
  return asking;
}
