/** The card with the picture that is searched for. */

import { api } from "./api.js";
import { basename, button, count, debounce, el, missing, still, when } from "./dom.js";
import { Region } from "./region.js";
import { formatRegion, parseRegion } from "./state.js";

export class QueryCard {
  #root;
  #on;
  #url = null;
  #shown = "";
  #size = [1, 1];
  #regionText = null;
  picture = el("div", { class: "picture", "data-testid": "query" });
  #layer;
  #region;
  #name = el("bdi");
  #facts = el("span", { class: "facts" });
  #part;
  #search;
  #clear;
  #score = el("input", { type: "range", min: 0, max: 1, step: 0.01, id: "min-score", "data-testid": "min-score" });
  #value = el("output", { for: "min-score" });
  #actions = el("div", { class: "actions" });

  /** `on.region(text)`, `on.score(number)`, `on.leave()` tell what the user wants. */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    this.#part = button("part", "Search a part", () => this.#region.begin(), { look: "quiet" });
    this.#search = button("part", "Search this part", () => this.#region.commit(), { look: "accent" });
    this.#clear = button("close", "Whole picture", () => this.#clearRegion(), { look: "quiet", "data-testid": "region-clear" });
    const leave = button("close", "Put this picture away", () => on.leave(), { look: "square plain leave" });
    this.#layer = el("div", { class: "layer" });
    this.#region = new Region(this.#layer, {
      search: (value) => on.region(formatRegion(value)),
      clear: () => this.#clearRegion(),
      change: (drafting, value) => this.#tools(drafting, value),
    });
    const tell = debounce(180, (value) => on.score(value));
    when(this.#score, "input", () => {
      this.#say(this.#score.valueAsNumber);
      tell(this.#score.valueAsNumber);
    });
    root.append(
      this.picture,
      el(
        "div",
        { class: "about" },
        el("div", { class: "who" }, el("div", {}, el("h2", { class: "name" }, this.#name), this.#facts), leave),
        el("div", { class: "parts" }, this.#part, this.#search, this.#clear, this.#actions),
        el("div", { class: "score-field" }, el("label", { for: "min-score", text: "Minimum score" }), this.#value, this.#score),
      ),
    );
    this.#tools(false, null);
  }

  hide() {
    this.#root.hidden = true;
    this.#show("", null);
  }

  /** A picture of the library: {id, path, width, height}, of which all but the id may come later. */
  library(picture, from) {
    this.#root.hidden = false;
    const fresh = this.#show(`id:${picture.id}`, () => this.#thumbnail(picture.id));
    if (picture.path) this.#describe(basename(picture.path), picture);
    else if (fresh) this.#describe("", null);
    if (fresh && from) this.#fly(from);
  }

  upload(upload) {
    this.#root.hidden = false;
    const fresh = this.#show(`upload:${upload.key}`, () => {
      this.#url = URL.createObjectURL(upload.blob);
      const image = this.#image(this.#url);
      when(image, "load", () => this.#describe(upload.name, { width: image.naturalWidth, height: image.naturalHeight }));
      return image;
    });
    if (fresh) this.#describe(upload.name, null);
  }

  actions(...nodes) {
    this.#actions.replaceChildren(...nodes);
  }

  score(value) {
    if (document.activeElement !== this.#score || this.#score.valueAsNumber < value) this.#score.value = value;
    this.#say(this.#score.valueAsNumber);
  }

  region(text) {
    this.#regionText = text;
    this.#region.set(text ? parseRegion(text, ...this.#size) : null);
  }

  retryImage() {
    if (!this.#shown.startsWith("id:") || !this.picture.querySelector(".missing")) return;
    this.picture.firstElementChild.replaceWith(this.#thumbnail(this.#shown.slice(3)));
  }

  #show(key, image) {
    if (key === this.#shown) return false;
    this.#shown = key;
    this.#size = [1, 1];
    this.picture.style.removeProperty("--shape");
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
    this.#regionText = null;
    this.#region.set(null);
    this.#layer.classList.add("off");
    this.#tools(false, null);
    if (image) this.picture.replaceChildren(image(), this.#layer);
    else this.picture.replaceChildren();
    return true;
  }

  #thumbnail(id) {
    const image = this.#image(api.thumbnail(id, 512));
    image.srcset = `${api.thumbnail(id, 512)} 1x, ${api.thumbnail(id, 1024)} 2x`;
    return image;
  }

  #image(url) {
    const image = el("img", { alt: "The picture searched for", draggable: "false" });
    when(image, "load", () => {
      this.#layer.classList.remove("off");
      this.picture.style.setProperty("--shape", image.naturalWidth / image.naturalHeight);
      this.#tools(false, this.#regionText && parseRegion(this.#regionText, ...this.#size));
    });
    when(image, "error", () => {
      image.replaceWith(missing("No preview")); // HEIC or TIFF: the server reads them, browsers do not
    });
    image.src = url;
    return image;
  }

  #describe(name, size) {
    this.#name.textContent = name;
    this.#name.title = name;
    const image = this.picture.querySelector("img");
    if (image && name) image.alt = `Searched for: ${name}`;
    this.#facts.textContent = size ? `${count(size.width)} × ${count(size.height)}` : "";
    if (!size) return;
    this.#size = [size.width, size.height];
    this.picture.style.setProperty("--shape", size.width / size.height); // room before the image comes
    if (this.#regionText && !this.#regionText.includes("%")) this.region(this.#regionText);
  }

  #tools(drafting, value) {
    this.#part.hidden = Boolean(value) || this.#layer.classList.contains("off");
    this.#search.hidden = !drafting;
    this.#clear.hidden = !value;
  }

  #clearRegion() {
    this.#region.set(null);
    if (this.#regionText) this.#on.region(null);
    this.#part.focus({ preventScroll: true });
  }

  #say(value) {
    this.#value.textContent = value > 0 ? value.toFixed(2) : "any";
    this.#score.style.setProperty("--at", `${value * 100}%`);
    this.#score.setAttribute("aria-valuetext", value > 0 ? value.toFixed(2) : "any");
  }

  /** The picture comes from where it was clicked, so that one sees what became of it. */
  #fly(from) {
    if (still()) return;
    const image = this.picture.firstElementChild;
    const to = image.getBoundingClientRect();
    if (!to.width || !to.height) return;
    const start = `translate(${from.left - to.left}px, ${from.top - to.top}px) scale(${from.width / to.width}, ${from.height / to.height})`;
    this.picture.classList.add("flying");
    const flight = image.animate(
      [{ transformOrigin: "0 0", transform: start }, { transformOrigin: "0 0", transform: "none" }],
      { duration: 320, easing: "cubic-bezier(.2,.8,.2,1)" },
    );
    flight.finished.catch(() => {}).then(() => this.picture.classList.remove("flying"));
  }
}
