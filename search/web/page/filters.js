/** The filter panel, and the chips that tell which filters hold. */

import { api } from "./api.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { FILTERS, SAYS } from "./state.js";

const NAMES = "JPEG PNG WEBP GIF AVIF HEIF TIFF BMP JPEG2000 MPO PSD TGA ICO PPM PCX SGI DDS QOI DIB".split(" ");
const FORMATS = {
  ...Object.fromEntries(NAMES.map((name) => [name, name])),
  ...{ WEBP: "WebP", HEIF: "HEIC", JPEG2000: "JPEG 2000" },
};

export class Filters {
  #form;
  #toggle;
  #chips;
  #count;
  #onchange;
  #filters = {};
  #named = false;

  constructor({ form, toggle, chips, count }, onchange) {
    this.#form = form;
    this.#toggle = toggle;
    this.#chips = chips;
    this.#count = count;
    this.#onchange = onchange;
    form.elements.format.append(...Object.entries(FORMATS).map(([value, text]) => el("option", { value, text })));
    form.addEventListener("change", () => this.#read());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#read();
      this.close();
    });
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      onchange({});
    });
    toggle.addEventListener("click", () => (form.hidden ? this.open() : this.close()));
  }

  get isOpen() {
    return !this.#form.hidden;
  }

  open() {
    this.#form.hidden = false;
    this.#toggle.setAttribute("aria-expanded", "true");
    this.#form.elements.path.focus();
    this.#suggest();
  }

  close() {
    const inside = this.#form.contains(document.activeElement);
    this.#form.hidden = true;
    this.#toggle.setAttribute("aria-expanded", "false");
    if (inside) this.#toggle.focus({ preventScroll: true });
  }

  /** Show what the address says. */
  set(filters) {
    this.#filters = filters;
    const names = FILTERS.filter((name) => filters[name]);
    for (const field of this.#form.elements) {
      if (field.name && field !== document.activeElement) field.value = filters[field.name] ?? "";
    }
    this.#count.hidden = names.length === 0;
    this.#count.textContent = names.length;
    this.#count.setAttribute("aria-label", `${names.length} active`);
    this.#chips.hidden = names.length === 0;
    this.#chips.replaceChildren(
      ...names.map((name) => {
        const remove = `Remove the filter ${SAYS[name]} ${filters[name]}`;
        const text = name === "format" ? (FORMATS[filters[name]] ?? filters[name]) : filters[name];
        const chip = { type: "button", class: "chip", "aria-label": remove, onclick: () => this.#remove(name) };
        return el("button", chip, el("span", { class: "chip-name", text: SAYS[name] }), el("bdi", { text }), icon("close"));
      }),
    );
  }

  #read() {
    if (!this.#form.reportValidity()) return;
    const filters = {};
    for (const name of FILTERS) {
      // What has no field here (max_width …) came with the address, and stays.
      const field = this.#form.elements.namedItem(name);
      const value = field ? field.value.trim() : this.#filters[name];
      if (value) filters[name] = value;
    }
    if (JSON.stringify(filters) !== JSON.stringify(this.#filters)) this.#onchange(filters);
  }

  #remove(name) {
    const { [name]: _, ...rest } = this.#filters;
    this.#onchange(rest);
    (this.#chips.querySelector("button") ?? this.#toggle).focus({ preventScroll: true });
  }

  async #suggest() {
    if (this.#named) return;
    this.#named = true;
    try {
      const { labels = [] } = await api.encoder();
      document.getElementById("label-names").append(...labels.map((value) => el("option", { value })));
    } catch {
      this.#named = false; // suggestions only: the next opening tries again
    }
  }
}
