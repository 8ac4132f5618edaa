/** The filter panel, and the chips that tell which filters hold. */

import { api } from "./api.js";
import { $, el, when } from "./dom.js";
import { icon } from "./icons.js";
import { FILTERS, SAYS } from "./state.js";

const NAMES = "JPEG PNG WEBP GIF AVIF HEIF TIFF BMP JPEG2000 PSD TGA ICO PPM PCX SGI DDS QOI DIB".split(" ");
const FORMATS = {
  ...Object.fromEntries(NAMES.map((name) => [name, name])),
  ...{ WEBP: "WebP", HEIF: "HEIC", JPEG2000: "JPEG 2000" },
};

export class Filters {
  #at;
  #onchange;
  #filters = {};
  #named = false;

  /** `at` has the elements: form, toggle, chips, count. */
  constructor(at, onchange) {
    this.#at = at;
    this.#onchange = onchange;
    const { form, toggle } = at;
    form.elements.format.append(...Object.entries(FORMATS).map(([value, text]) => el("option", { value, text })));
    when(form, "change", () => this.#read());
    when(form, "submit", (event) => {
      event.preventDefault();
      this.#read();
      this.close();
    });
    when(form, "reset", (event) => {
      event.preventDefault();
      onchange({});
    });
    when(toggle, "click", () => (form.hidden ? this.open() : this.close()));
  }

  get isOpen() {
    return !this.#at.form.hidden;
  }

  open() {
    this.#at.form.hidden = false;
    this.#at.toggle.setAttribute("aria-expanded", "true");
    this.#at.form.elements.path.focus();
    this.#suggest();
  }

  close() {
    const inside = this.#at.form.contains(document.activeElement);
    this.#at.form.hidden = true;
    this.#at.toggle.setAttribute("aria-expanded", "false");
    if (inside) this.#at.toggle.focus({ preventScroll: true });
  }

  /** Show what the address says. */
  set(filters) {
    this.#filters = filters;
    const names = FILTERS.filter((name) => filters[name]);
    for (const field of this.#at.form.elements) {
      if (field.name && field !== document.activeElement) field.value = filters[field.name] ?? "";
    }
    this.#at.count.hidden = names.length === 0;
    this.#at.count.textContent = names.length;
    this.#at.count.setAttribute("aria-label", `${names.length} active`);
    this.#at.chips.hidden = names.length === 0;
    this.#at.chips.replaceChildren(
      ...names.map((name) => {
        const remove = `Remove the filter ${SAYS[name]} ${filters[name]}`;
        const text = name === "format" ? (FORMATS[filters[name]] ?? filters[name]) : filters[name];
        const chip = { class: "chip", "aria-label": remove, onclick: () => this.#remove(name) };
        return el("button", chip, el("span", { class: "chip-name", text: SAYS[name] }), el("bdi", { text }), icon("close"));
      }),
    );
  }

  #read() {
    if (!this.#at.form.reportValidity()) return;
    const filters = {};
    for (const name of FILTERS) {
      // What has no field here (max_width …) came with the address, and stays.
      const field = this.#at.form.elements.namedItem(name);
      const value = field ? field.value.trim() : this.#filters[name];
      if (value) filters[name] = value;
    }
    if (JSON.stringify(filters) !== JSON.stringify(this.#filters)) this.#onchange(filters);
  }

  #remove(name) {
    const { [name]: _, ...rest } = this.#filters;
    this.#onchange(rest);
    (this.#at.chips.querySelector("button") ?? this.#at.toggle).focus({ preventScroll: true });
  }

  async #suggest() {
    if (this.#named) return;
    this.#named = true;
    try {
      const { labels = [] } = await api.encoder();
      $("label-names").append(...labels.map((value) => el("option", { value })));
    } catch {
      this.#named = false; // suggestions only: the next opening tries again
    }
  }
}
