/** A server that is away or busy: a banner that counts down to the next try. */

import { ApiError, Offline } from "./api.js";
import { button, el } from "./dom.js";
import { icon } from "./icons.js";

export class Connection {
  #root;
  #onrecovery;
  #timer = null;
  #failures = 0;

  /** What is to be tried again once the server answers, or null. */
  waiting = null;

  constructor(root, onrecovery) {
    this.#root = root;
    this.#onrecovery = onrecovery;
    addEventListener("online", () => this.waiting?.());
  }

  /** Whether this error is one to wait for; then `again` is called in a while. */
  lost(error, again) {
    const busy = error instanceof ApiError && error.status === 503;
    if (!busy && !(error instanceof Offline)) return false;
    this.#failures += 1;
    const seconds = (busy && error.retryAfter) || Math.min(2 ** this.#failures, 30);
    this.#show(error.message, Math.max(1, Math.round(seconds)), again);
    return true;
  }

  recovered() {
    if (!this.#failures) return;
    this.#failures = 0;
    this.waiting = null;
    clearInterval(this.#timer);
    this.#root.hidden = true;
    this.#onrecovery();
  }

  #show(text, left, again) {
    clearInterval(this.#timer);
    // The text is said aloud once; the clock would be every second.
    const clock = el("span", { "aria-hidden": "true" });
    const tell = () => (clock.textContent = left > 0 ? ` Trying again in ${left} s.` : " Trying again …");
    this.waiting = () => {
      clearInterval(this.#timer);
      this.waiting = null;
      left = 0;
      tell();
      again();
    };
    tell();
    this.#root.replaceChildren(icon("alert"), el("p", {}, text, clock), button(null, "Try now", () => this.waiting?.(), { look: "small" }));
    this.#root.hidden = false;
    this.#timer = setInterval(() => {
      left -= 1;
      if (left > 0) tell();
      else this.waiting?.();
    }, 1000);
  }
}
