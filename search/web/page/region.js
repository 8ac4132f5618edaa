/** A rectangle on the query picture: drawn, moved and resized by pointer or keyboard. */

import { el, when } from "./dom.js";

const SMALLEST = 0.03;
const STEP = 0.02;
const CORNERS = ["nw", "ne", "sw", "se"];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const percent = (value) => `${Math.round(value * 100)} %`;

export class Region {
  #layer;
  #rect;
  #value = null; // what is searched for
  #draft = null; // what is drawn
  #drag = null;
  #on;

  /** `on.search(value)`, `on.clear()` and `on.change(drafting, value)` tell what was done. */
  constructor(layer, on) {
    this.#layer = layer;
    this.#on = on;
    this.#rect = el(
      "div",
      { class: "region", "data-testid": "region", tabindex: 0, role: "application", "aria-roledescription": "part of the picture", hidden: true },
      ...CORNERS.map((corner) => el("i", { class: `handle ${corner}`, "data-corner": corner })),
    );
    layer.append(this.#rect);
    when(layer, "pointerdown", (event) => this.#down(event));
    when(layer, "pointermove", (event) => this.#move(event));
    when(layer, "pointerup", (event) => this.#up(event));
    when(layer, "pointercancel", () => this.#cancel());
    when(this.#rect, "keydown", (event) => this.#key(event));
  }

  /** Show what the address says. */
  set(value) {
    this.#value = value;
    this.#drag = null;
    this.#paint(value);
  }

  /** Offer a rectangle to be moved: for the keyboard, and for fingers. */
  begin() {
    this.#paint(this.#draft ?? { x: 0.25, y: 0.25, w: 0.5, h: 0.5 });
    this.#rect.focus();
  }

  commit() {
    if (this.#draft) this.#on.search(this.#draft);
  }

  #paint(value) {
    this.#draft = value;
    this.#rect.hidden = !value;
    this.#layer.classList.toggle("armed", Boolean(value));
    if (value) {
      const { style } = this.#rect;
      [style.left, style.top] = [`${value.x * 100}%`, `${value.y * 100}%`];
      [style.width, style.height] = [`${value.w * 100}%`, `${value.h * 100}%`];
      this.#rect.setAttribute(
        "aria-label",
        `Left ${percent(value.x)}, top ${percent(value.y)}, width ${percent(value.w)}, height ${percent(value.h)}. ` +
          "Arrows move, with Shift they resize, Enter searches, Escape clears.",
      );
    }
    this.#on.change(Boolean(value) && value !== this.#value, value);
  }

  #point(event) {
    const box = this.#layer.getBoundingClientRect();
    return { x: clamp((event.clientX - box.left) / box.width, 0, 1), y: clamp((event.clientY - box.top) / box.height, 0, 1) };
  }

  #down(event) {
    if (event.button || !event.isPrimary || this.#layer.classList.contains("off")) return;
    const point = this.#point(event);
    const { corner } = event.target.dataset;
    const drawn = this.#draft;
    if (corner) {
      // The opposite corner stays where it is.
      const fixed = { x: drawn.x + (corner.endsWith("w") ? drawn.w : 0), y: drawn.y + (corner.startsWith("n") ? drawn.h : 0) };
      this.#drag = { fixed };
    } else if (event.target === this.#rect) this.#drag = { grip: { x: point.x - drawn.x, y: point.y - drawn.y } };
    else this.#drag = { fixed: point };
    Object.assign(this.#drag, { before: drawn, from: [event.clientX, event.clientY], moved: false });
    this.#layer.setPointerCapture(event.pointerId);
    if (event.pointerType === "mouse") event.preventDefault();
  }

  #move(event) {
    const drag = this.#drag;
    if (!drag) return;
    if (!drag.moved && Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) < 5) return;
    drag.moved = true;
    const point = this.#point(event);
    if (drag.grip) {
      const { w, h } = drag.before;
      this.#paint({ x: clamp(point.x - drag.grip.x, 0, 1 - w), y: clamp(point.y - drag.grip.y, 0, 1 - h), w, h });
    } else {
      const { fixed } = drag;
      this.#paint({
        x: Math.min(fixed.x, point.x),
        y: Math.min(fixed.y, point.y),
        w: Math.abs(fixed.x - point.x),
        h: Math.abs(fixed.y - point.y),
      });
    }
  }

  #up() {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag?.moved) return;
    if (this.#draft.w < SMALLEST || this.#draft.h < SMALLEST) this.#paint(drag.before);
    else {
      this.#rect.focus({ preventScroll: true });
      this.commit();
    }
  }

  #cancel() {
    if (this.#drag) this.#paint(this.#drag.before);
    this.#drag = null;
  }

  #key(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter") this.commit();
    else if (event.key === "Escape") this.#on.clear();
    else if (direction) {
      const [dx, dy] = direction.map((unit) => unit * STEP);
      const { x, y, w, h } = this.#draft;
      this.#paint(
        event.shiftKey
          ? { x, y, w: clamp(w + dx, SMALLEST, 1 - x), h: clamp(h + dy, SMALLEST, 1 - y) }
          : { x: clamp(x + dx, 0, 1 - w), y: clamp(y + dy, 0, 1 - h), w, h },
      );
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
