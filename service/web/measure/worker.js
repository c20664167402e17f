// All inference happens here, so that the page stays responsive and its drawing is not in the times.

import { Gate } from "./gate.js";
import { measure } from "./measurement.js";
import { Session } from "./session.js";
import { Storage } from "./storage.js";
import { attempt } from "./trial.js";

const WORK = { measure, try: attempt };
let gate;

addEventListener("message", async ({ data }) => {
  if (data.kind === "pause") return gate?.pause(data.on);
  gate = new Gate(data.until);
  gate.pause(data.hidden);
  const tell = (kind, rest) => postMessage({ kind, ...rest });
  const session = new Session(data.secret, data.until, (error) => tell("waiting", { detail: error && error.message }));
  try {
    const body = await WORK[data.task.purpose]({ ...data, session, gate, storage: await Storage.open(), tell });
    tell("result", { body });
  } catch (error) {
    tell("failed", { detail: String(error?.message ?? error), document: error?.document ?? null, open: error?.open ?? 0 });
  }
});
