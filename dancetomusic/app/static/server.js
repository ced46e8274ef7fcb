// Requests to the server, and jobs watched until they are over. Paths are relative to the page, which a
// proxy may serve anywhere.

export class Refused extends Error {
  constructor(problem, remedy, status = 0, retryAfter = 0, job = null) {
    super(problem);
    Object.assign(this, { problem, remedy, status, retryAfter, job });
  }
}

const unreachable = () => new Refused("The server does not answer.", "Is it still running?");

const refusal = (status, text, retryAfter) => {
  try {
    const { problem, remedy, job } = JSON.parse(text);
    return new Refused(sentence(problem), remedy, status, Number(retryAfter) || 0, job);
  } catch {
    return new Refused(`The server answered ${status}.`, "Try again.", status);
  }
};

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

export async function ask(path, { method = "GET", json, signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal,
      headers: json ? { "Content-Type": "application/json" } : {},
      body: json && JSON.stringify(json),
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (!answer.ok) {
    throw refusal(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  }
  return answer;
}

// Ask until the server is free, telling `onWait(seconds, job)` how long that may take, and which job of the
// visitor's own is in the way; where it gives true, it is time to ask again.
export async function askPatiently(path, options, onWait) {
  for (;;) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (error.status !== 429 || !error.retryAfter) throw error;
      for (let left = error.retryAfter; left > 0 && !onWait(left, error.job); left -= 1) {
        await pause(1000, options.signal);
      }
    }
  }
}

const pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

// The file as the body of one request; fetch does not report upload progress.
export function upload(path, file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () =>
      request.status === 201
        ? resolve(JSON.parse(request.responseText))
        : reject(refusal(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

export const cancelJob = (job) => ask(`api/jobs/${job}`, { method: "DELETE" }).catch(() => {}); // it may be over

// The result of a job; aborting cancels it, and so does leaving the page for longer than a moment.
export function follow(job, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`api/jobs/${job}`);
    const finish = (act, value) => {
      events.close();
      act(value);
    };
    signal.addEventListener(
      "abort",
      () => {
        cancelJob(job);
        finish(reject, new DOMException("cancelled", "AbortError"));
      },
      { once: true },
    );
    events.onmessage = ({ data }) => {
      const state = JSON.parse(data);
      if (state.state === "done") finish(resolve, state.result);
      else if (state.state === "failed") finish(reject, new Refused(sentence(state.problem), state.remedy));
      else if (state.state === "cancelled") finish(reject, new DOMException("cancelled", "AbortError"));
      else onProgress(state);
    };
    events.onerror = () => events.readyState === EventSource.CLOSED && finish(reject, unreachable());
  });
}
