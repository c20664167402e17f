// The models of a plan: downloaded once, and as many open at a time as the memory allows.

const AT_ONCE = 6;
const LEAST_OPEN = 8;

/** The key under which a model of a plan is stored. */
export const keyOf = (plan, i) => `${plan.id} ${i}`;

/** Download what is not stored yet; `onEach(count)` after each. */
export async function download(plan, session, storage, onEach) {
  const { models } = plan;
  let next = 0;
  let done = 0;
  async function some() {
    while (next < models.length) {
      const i = next++;
      const key = keyOf(plan, i);
      if (!(await storage.get("models", key))) await storage.put("models", key, await whole(session, i, models[i]));
      onEach((done += 1));
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, some));
}

/** A model as it is stated, where it is (one that is quantized on demand is not); downloaded once more if
 * it came damaged. */
async function whole(session, i, { bytes, sha256 }) {
  for (let tries = 0; tries < 3; tries++) {
    const content = await session.bytesOf(i);
    if (sha256 == null || (content.length === bytes && (!globalThis.crypto?.subtle || (await sha256Of(content)) === sha256))) return content;
  }
  throw new Error(`Model ${i} arrives damaged: three times its sha256 was not the one stated.`);
}

export async function sha256Of(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Pool {
  /** `read(i)` gives the bytes of a model, `capacity` how many may be open at once. `onTight(capacity)`
   * hears that the memory is not enough for more. */
  constructor(engine, models, read, capacity, onTight) {
    Object.assign(this, { engine, models, read, capacity, onTight, open: new Map() });
  }

  /** The open model; those that were not used for longest make room for it. */
  async get(i) {
    let model = this.open.get(i);
    if (model) {
      if (this.capacity >= this.models.length) return model;
      this.open.delete(i); // used last, so closed last
      this.open.set(i, model);
      return model;
    }
    await this.#makeRoom(this.capacity - 1);
    for (;;) {
      try {
        model = await this.engine.open(await this.read(i), this.models[i].input);
        this.open.set(i, model);
        return model;
      } catch (error) {
        if (this.open.size < LEAST_OPEN) throw error; // not for lack of memory
        this.capacity = Math.floor(0.6 * this.open.size);
        this.onTight(this.capacity);
        await this.#makeRoom(this.capacity - 1);
      }
    }
  }

  async #makeRoom(most) {
    for (const [i, model] of this.open) {
      if (this.open.size <= most) return;
      this.open.delete(i);
      await model.release();
    }
  }

  async clear() {
    await this.#makeRoom(0);
  }
}
