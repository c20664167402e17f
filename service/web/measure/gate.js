// Work that stands still while the page is hidden, and ends when the session does.

/** What is kept back for sending the result before the session ends, milliseconds. */
const RESERVE_MS = 90_000;

export class Gate {
  /** `until`: when the session ends, milliseconds since the epoch. */
  constructor(until) {
    Object.assign(this, { until, closings: 0, paused: false, waiting: [] });
    // A message to itself lets messages of the page through, without the delay of a timer.
    this.channel = new MessageChannel();
    this.channel.port1.onmessage = () => this.breathed?.();
  }

  /** Whether it is too late to begin something that takes so many seconds. */
  isLate(seconds = 0) {
    return Date.now() + 1000 * seconds > this.until - RESERVE_MS;
  }

  pause(on) {
    if (on && !this.paused) this.closings += 1;
    this.paused = on;
    if (!on) for (const wake of this.waiting.splice(0)) wake();
  }

  /** Until the page is shown. */
  wait() {
    return this.paused ? new Promise((wake) => this.waiting.push(wake)) : null;
  }

  /** Let messages through. */
  breathe() {
    return new Promise((resolve) => {
      this.breathed = resolve;
      this.channel.port2.postMessage(null);
    });
  }

  /** Rest for some seconds, calling `left(seconds)` each second. */
  async rest(seconds, left) {
    for (; seconds > 0 && !this.isLate(); seconds--) {
      left(seconds);
      await new Promise((wake) => setTimeout(wake, 1000));
    }
  }
}
