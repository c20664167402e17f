// The API under /v1: answers as JSON, errors as `Problem`, a key asked for when one is required.

const KEY = "subnet-search.key";

export class Problem extends Error {
  /** `document` is a problem document (RFC 9457). */
  constructor(document) {
    super(document.detail || document.title || "the request failed");
    this.document = document;
    this.status = document.status;
  }
}

export const savedKey = () => sessionStorage.getItem(KEY);
export function saveKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

let askForKey = async () => false;
/** `ask(detail)` shows what the service said and resolves to whether a key was given. */
export function onKeyNeeded(ask) {
  let open = null; // several requests may be refused at once: one dialog
  askForKey = (detail) => (open ??= ask(detail).finally(() => (open = null)));
}

/** The response, whatever its body.
 * @throws {Problem} if it is an error, or the service does not answer. */
export async function request(path, options = {}) {
  for (;;) {
    const key = savedKey();
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ status: 0, title: "No answer", detail: "The service does not answer. Is it still running?" });
    }
    if (response.ok) return response;
    const document = await response.json().catch(() => ({}));
    document.status ??= response.status;
    document.detail ??= `${response.status} ${response.statusText}`;
    if (response.status === 401 && (await askForKey(document.detail))) continue;
    throw new Problem(document);
  }
}

export const get = async (path, options) => (await request(path, options)).json();

export function post(path, body) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/** Server-sent events of `path`: `on(kind, data)` for each. A broken stream is resumed after its
 * last event. EventSource cannot send a key, so the format is parsed here. */
export async function follow(path, on, signal) {
  let last = null;
  for (let broken = 0; broken < 5; ) {
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const response = await request(path, { headers, signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ; ) {
        const { value, done } = await reader.read();
        if (done) return;
        broken = 0;
        const blocks = (text + value).split(/\r?\n\r?\n/);
        text = blocks.pop();
        for (const block of blocks) {
          const fields = {};
          for (const line of block.split(/\r?\n/)) {
            const [, name, content] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
            if (name) fields[name] = name === "data" && "data" in fields ? `${fields.data}\n${content}` : content;
          }
          if (fields.id) last = fields.id;
          if ("data" in fields) on(fields.event ?? "message", JSON.parse(fields.data));
        }
      }
    } catch (error) {
      if (error.name === "AbortError" || (error instanceof Problem && error.status)) throw error;
      broken += 1;
      await new Promise((wake) => setTimeout(wake, 300 * 2 ** broken));
    }
  }
  throw new Problem({ status: 0, detail: "The connection broke repeatedly. The search continues on the server." });
}
