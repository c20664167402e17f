// The service as a link's device sees it: one session, and requests that are repeated until answered.

const HERE = "/v1/link-sessions";
const WAITS_S = [1, 2, 4, 8, 15, 30];
const MOST_ERRORS = 5;
/** How often a request is repeated that the service answers with an error of its own (500). */

export class Refused extends Error {
  /** `document` is a problem document (RFC 9457). */
  constructor(document) {
    super(document.detail || document.title || "the request failed");
    this.document = document;
    this.status = document.status;
  }
}

/** Exchange the code of a link for a session: {session, task}. */
export const claim = async (code) => (await answered(HERE, { method: "POST", headers: JSON_TYPE, body: JSON.stringify({ code }) })).json();

const JSON_TYPE = { "Content-Type": "application/json" };

async function answered(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  if (response.ok) return response;
  const document = await response.json().catch(() => ({}));
  document.status ??= response.status;
  document.detail ??= `${response.status} ${response.statusText}`;
  throw new Refused(document);
}

/** Whether the same request may be answered later: no connection, too many requests, a server that restarts. */
export const passing = (error) => !(error instanceof Refused) || error.status === 429 || error.status >= 500;

export class Session {
  /** `until`: when it ends, in milliseconds since the epoch; nothing is repeated after that.
   * `onWait(error)` hears of each failed try, and of null once there is an answer. */
  constructor(secret, until, onWait = () => {}) {
    Object.assign(this, { secret, until, onWait });
  }

  async #ask(part, options = {}, repeated = true) {
    for (let tries = 0; ; tries++) {
      try {
        const response = await answered(`${HERE}/current${part}`, { ...options, headers: { ...options.headers, "Link-Session": this.secret } });
        if (tries) this.onWait(null);
        return response;
      } catch (error) {
        if (!repeated || !passing(error) || Date.now() > this.until || (error.status === 500 && tries >= MOST_ERRORS)) throw error;
        this.onWait(error);
        await new Promise((wake) => setTimeout(wake, 1000 * WAITS_S[Math.min(tries, WAITS_S.length - 1)]));
      }
    }
  }

  #send(method, part, body, repeated) {
    return this.#ask(part, { method, headers: JSON_TYPE, body: JSON.stringify(body) }, repeated);
  }

  current = async () => (await this.#ask("")).json();
  plan = async () => (await this.#ask("/plan")).json();
  bytesOf = async (i) => new Uint8Array(await (await this.#ask(`/models/${i}`)).arrayBuffer());
  model = async () => new Uint8Array(await (await this.#ask("/model")).arrayBuffer());
  /** {shape: [N, C, r, r], values} of the validation images. */
  images = async () => {
    const response = await this.#ask("/images");
    const shape = response.headers.get("Image-Shape").split(",").map(Number);
    return { shape, values: new Float32Array(await response.arrayBuffer()) };
  };
  /** Not repeated: the next one says more. */
  progress = async (body) => (await this.#send("PUT", "/progress", body, false)).json();
  result = async (body) => (await this.#send("POST", "/result", body, true)).json();
}
