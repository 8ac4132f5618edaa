/** All about one picture: beside the grid on wide screens, a sheet from below on phones. */

import { api, inWords, isAbort } from "./api.js";
import { button, bytes, count, date, el, missing, nameOf, when } from "./dom.js";
import { icon } from "./icons.js";
import { shade } from "./why.js";

const narrow = matchMedia("(max-width: 759px)");

export class Details {
  #root;
  #on;
  #id = null;
  #controller = null;
  #why = false;

  /** `on` has functions for what the user may want. */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    when(root, "cancel", (event) => {
      event.preventDefault();
      on.close();
    });
    when(root, "click", (event) => {
      if (event.target === root) on.close(); // the backdrop
    });
    when(root, "keydown", (event) => {
      if (event.target.closest("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) on.step(step);
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        on.close();
      }
    });
  }

  get id() {
    return this.#id;
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  /** Show picture `id`; `known` is what its hit tells already. */
  async open(id, known, { mayDelete, steps }) {
    if (id === this.#id && this.#root.open) return this.#on.why();
    this.#controller?.abort();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const focused = this.#root.contains(document.activeElement) ? document.activeElement?.dataset.step : null;
    this.#id = id;
    this.#render(known ? { id, ...known } : { id, path: "", labels: [] }, { mayDelete, steps, whole: false });
    if (!this.#root.open) {
      if (narrow.matches) this.#root.showModal();
      else this.#root.show();
    }
    const goal = (focused && this.#find(`[data-step="${focused}"]:not(:disabled)`)) || this.#find(".shut");
    goal.focus({ preventScroll: true });
    this.#on.why();
    try {
      const picture = await api.picture(id, signal);
      this.#render({ score: known?.score, ...picture }, { mayDelete, steps, whole: true });
    } catch (error) {
      if (isAbort(error)) return;
      this.#find(".body").append(el("p", { class: "wrong", text: inWords(error) }));
    }
  }

  /** Show why the picture matches; answers whether that is wanted. */
  why(side) {
    const pressed = this.#find("[aria-pressed]");
    pressed?.setAttribute("aria-pressed", this.#why);
    if (pressed) shade(this.#find(".stage"), side);
    return pressed && this.#why;
  }

  close() {
    this.#controller?.abort();
    this.#id = null;
    if (this.#root.open) this.#root.close();
    this.#root.replaceChildren();
    this.#on.why();
  }

  #render(picture, { mayDelete, steps, whole }) {
    const name = nameOf(picture);
    this.#root.setAttribute("aria-label", `Details of ${name}`);
    if (whole && this.#find(".body")) {
      // Only what was missing is filled in: the image stays, and so does the focus.
      this.#find(".body").replaceWith(this.#body(picture, name, mayDelete));
      return;
    }
    const image = el("img", { alt: name, src: api.thumbnail(picture.id, 1024), draggable: "false" });
    if (picture.width) [image.width, image.height] = [picture.width, picture.height];
    when(image, "error", () => image.replaceWith(missing()));
    const step = (by, look, label) =>
      button(look, label, () => this.#on.step(by), { look: "square plain", disabled: !steps.includes(by), "data-step": by });
    const shut = button("close", "Close the details", () => this.#on.close(), { look: "square plain shut" });
    this.#root.replaceChildren(
      el("div", { class: "details-head" }, step(-1, "previous", "Previous picture"), step(1, "next", "Next picture"), shut),
      el("a", { class: "stage", href: api.original(picture.id), target: "_blank", title: "Open the original" }, image),
      this.#body(picture, name, whole && mayDelete),
    );
    this.#root.scrollTop = 0;
  }

  #body(picture, name, mayDelete) {
    const link = (look, text, href, more) => el("a", { class: "button", href, ...more }, icon(look), text);
    const facts = [
      ["Size", picture.width && `${count(picture.width)} × ${count(picture.height)} pixels`],
      ["Format", picture.format],
      ["File", picture.file_size !== undefined && bytes(picture.file_size)],
      ["Taken", picture.taken_at && date(picture.taken_at) + (picture.taken_from === "name" ? " (by name)" : "")],
      ["Camera", picture.camera],
      ["Changed", date(picture.modified_at)],
      ["Added", date(picture.added_at)],
      ["Score", picture.score !== undefined && picture.score.toFixed(4)],
    ].filter(([, value]) => value);
    return el("div", { class: "body" },
      el("h2", {}, el("bdi", { text: name })),
      el("div", { class: "row" },
        button("alike", "Search from this", () => this.#on.search(picture), { look: "accent" }),
        picture.score !== undefined &&
          button("help", "Why?", () => this.#on.why((this.#why = !this.#why)), { "aria-pressed": String(this.#why), title: "Show what made them match" }),
        link("open", "Original", api.original(picture.id), { target: "_blank" }),
        link("download", "Download", api.original(picture.id, true), { download: name }),
      ),
      picture.labels?.length > 0 && this.#labels(picture.labels),
      el("dl", { class: "facts" }, ...facts.map(([term, value]) => el("div", {}, el("dt", { text: term }), el("dd", { text: value })))),
      picture.path && this.#path(picture.path),
      mayDelete && picture.owned && button("delete", "Delete from the library", () => this.#on.remove(picture), { look: "danger-quiet", "data-testid": "delete" }),
    );
  }

  #labels(labels) {
    const rows = labels.map(([label, probability]) => {
      const bar = el("i", { "aria-hidden": "true" });
      bar.style.width = `${Math.max(probability * 100, 0.5)}%`;
      const share = probability >= 0.01 ? `${Math.round(probability * 100)} %` : "< 1 %";
      const only = { title: `Only pictures labelled “${label}”`, onclick: () => this.#on.label(label) };
      return el("li", {}, el("button", only, bar, el("span", { text: label }), el("span", { class: "share", text: share })));
    });
    return el("ul", { class: "bars", "aria-label": "Labels" }, ...rows);
  }

  #path(path) {
    const copy = button("copy", "Copy", async () => {
      const done = await copyText(path, this.#root);
      copy.replaceChildren(icon(done ? "check" : "alert"), el("span", { text: done ? "Copied" : "Not copied", role: "status" }));
      setTimeout(() => copy.replaceChildren(icon("copy"), el("span", { text: "Copy" })), 1800);
    }, { look: "small", "data-testid": "copy" });
    return el("div", { class: "path" }, el("bdi", { class: "path-text", text: path }), copy);
  }
}

async function copyText(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https the clipboard is closed to scripts; the old way still works.
    const area = el("textarea", { class: "offscreen" });
    area.value = text;
    const back = document.activeElement;
    near.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    back?.focus({ preventScroll: true });
    return done;
  }
}
