// What outlives a reload: the session in localStorage, models, rounds and results in IndexedDB. Both are
// there without HTTPS, unlike Cache Storage. Without them (some private windows) the page works, and a
// reload starts over.

const SESSION = "subnet-search.link-session";
const STORES = ["models", "rounds", "notes"];

/** {secret, opened_at} of the link session that this browser holds, or null. */
export function savedSession() {
  try {
    return JSON.parse(localStorage.getItem(SESSION));
  } catch {
    return null;
  }
}

export function saveSession(session) {
  try {
    if (session) localStorage.setItem(SESSION, JSON.stringify(session));
    else localStorage.removeItem(SESSION);
  } catch {
    // A browser that keeps nothing: the page still works until it is reloaded.
  }
}

const promised = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Values by store ("models", "rounds", "notes") and key. */
export class Storage {
  static async open() {
    const storage = new Storage();
    storage.memory = new Map();
    try {
      const request = indexedDB.open("subnet-search.measure", 1);
      request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
      storage.database = await promised(request);
    } catch {
      storage.database = null;
    }
    return storage;
  }

  async get(store, key) {
    const name = `${store} ${key}`;
    if (this.memory.has(name) || !this.database) return this.memory.get(name);
    return promised(this.database.transaction(store).objectStore(store).get(key));
  }

  /** A full disk keeps nothing, and the page goes on with what it has in memory. */
  async put(store, key, value) {
    try {
      await promised(this.database.transaction(store, "readwrite").objectStore(store).put(value, key));
    } catch {
      this.memory.set(`${store} ${key}`, value);
    }
  }

  /** Forget everything. */
  async clear() {
    this.memory.clear();
    if (this.database) for (const store of STORES) await promised(this.database.transaction(store, "readwrite").objectStore(store).clear());
  }
}
