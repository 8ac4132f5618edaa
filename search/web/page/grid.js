/** The grid of pictures: justified rows, one tab stop, arrow keys. */

import { api } from "./api.js";
import { button, el, missing, nameOf, spoken, when } from "./dom.js";
import { justify, rowHeight } from "./layout.js";

const CAPTION = 34;

export class Grid {
  #list;
  #address;
  #onopen;
  #oninfo;
  #items = [];
  #nodes = new Map();
  #boxes = [];
  #width = 0;
  #active = null;

  /** `address(item)` is where a picture leads; `onopen(item, frame)` and `oninfo(item)` tell. */
  constructor(list, { address, onopen, oninfo }) {
    this.#list = list;
    this.#address = address;
    this.#onopen = onopen;
    this.#oninfo = oninfo;
    when(list, "keydown", (event) => this.#key(event));
    when(list, "focusin", (event) => {
      const id = event.target.closest("li")?.dataset.id;
      if (id) this.#activate(Number(id));
    });
    new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - this.#width) >= 1) this.layout();
    }).observe(list);
  }

  get items() {
    return this.#items;
  }

  item(id) {
    return this.#items.find((item) => item.id === id) ?? null;
  }

  /** Show these pictures; those that were shown before keep their elements, and so their images. */
  set(items) {
    const before = this.#nodes;
    const focused = this.#list.contains(document.activeElement);
    this.#items = items;
    this.#nodes = new Map(items.map((item) => [item.id, this.#renew(before.get(item.id), item)]));
    if (!this.#nodes.has(this.#active)) this.#active = items[0]?.id ?? null;
    this.#list.replaceChildren(...this.#nodes.values());
    this.#activate(this.#active);
    this.layout();
    if (focused) this.focus(this.#active, { scroll: false });
  }

  /** Add a further page; what is there already is left out. */
  append(items) {
    const fresh = items.filter((item) => !this.#nodes.has(item.id));
    this.#items = [...this.#items, ...fresh];
    for (const item of fresh) {
      const node = this.#renew(null, item);
      this.#nodes.set(item.id, node);
      this.#list.append(node);
    }
    if (this.#active === null && fresh.length) this.#activate(fresh[0].id);
    this.layout();
  }

  remove(id) {
    const at = this.#items.findIndex((item) => item.id === id);
    if (at >= 0) this.set(this.#items.filter((item) => item.id !== id));
    const next = this.#items[Math.min(Math.max(at, 0), this.#items.length - 1)];
    if (next) this.focus(next.id);
  }

  neighbour(id, step) {
    const at = this.#items.findIndex((item) => item.id === id);
    return at < 0 ? null : (this.#items[at + step] ?? null);
  }

  focus(id, { scroll = true } = {}) {
    const link = this.#nodes.get(id)?.querySelector("a");
    link?.focus({ preventScroll: !scroll });
    return Boolean(link);
  }

  reveal(id) {
    this.#nodes.get(id)?.scrollIntoView({ block: "nearest" });
  }

  mark(id) {
    for (const [key, node] of this.#nodes) node.classList.toggle("shown", key === id);
  }

  /** Build everything anew, so that images that did not come are asked for again. */
  renew() {
    this.#nodes.clear();
    this.set(this.#items);
  }

  layout() {
    const width = this.#list.clientWidth;
    if (!width) return;
    const top = (item) => this.#nodes.get(item.id).getBoundingClientRect().top;
    // Rows break elsewhere in another width: what one was looking at stays where it was.
    const moves = this.#width && Math.abs(width - this.#width) >= 1 && scrollY > 40;
    const anchor = moves && this.#items.find((item) => top(item) >= 60);
    const before = anchor && top(anchor);
    this.#width = width;
    const gap = width < 600 ? 8 : 14;
    const shapes = this.#items.map((item) => item.width / item.height || 1);
    const { boxes, height } = justify(shapes, width, { target: rowHeight(width), gap, below: CAPTION });
    this.#boxes = boxes;
    this.#list.style.height = `${height}px`;
    this.#items.forEach((item, at) => {
      const { x, y, w, h } = boxes[at];
      const node = this.#nodes.get(item.id);
      node.style.transform = `translate(${x}px, ${y}px)`;
      node.style.width = `${w}px`;
      node.querySelector(".frame").style.height = `${h}px`;
      const image = node.querySelector("img");
      if (image) image.sizes = `${Math.round(Math.max(w, (h * item.width) / item.height))}px`;
    });
    if (anchor && before < innerHeight) scrollBy(0, top(anchor) - before);
  }

  #renew(node, item) {
    const li = node ?? this.#build(item);
    const scored = item.score !== undefined;
    const score = li.querySelector(".score");
    score.hidden = !scored;
    if (scored) score.textContent = item.score.toFixed(item.score < 0.9995 && item.score > 0.99 ? 3 : 2);
    const link = li.querySelector("a");
    link.href = this.#address(item);
    score.classList.toggle("same", !!item.same);
    link.setAttribute("aria-label", scored ? `${spoken(item)}, score ${score.textContent}` : spoken(item));
    return li;
  }

  #build(item) {
    const name = nameOf(item);
    const labels = item.labels?.slice(0, 2).map(([label]) => label).join(", ");
    const frame = el("span", { class: "frame" }, this.#image(item));
    const link = el(
      "a",
      { class: "pick", tabindex: -1, draggable: "false", title: name },
      frame,
      el("span", { class: "caption" }, el("span", { class: "score", "data-testid": "score" }), el("span", { class: "says", text: labels || name })),
    );
    when(link, "click", (event) => {
      // With a modifier key the browser does what it does with links.
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.#onopen(item, frame);
    });
    const info = button("info", `Details of ${name}`, () => this.#oninfo(item), { look: "square info", tabindex: -1, "data-testid": "info" });
    info.title = "Details (i)";
    return el("li", { class: "hit", "data-testid": "hit", "data-id": item.id }, link, info);
  }

  #image(item) {
    const long = Math.max(item.width, item.height) || 512;
    const wide = (size) => Math.max(1, Math.round(item.width * Math.min(1, size / long)));
    const [small, large] = [256, 512].map((size) => `${api.thumbnail(item.id, size)} ${wide(size)}w`);
    const image = el("img", { alt: spoken(item), loading: "lazy", decoding: "async", draggable: "false" });
    when(image, "load", () => image.classList.add("here"));
    when(image, "error", () => image.replaceWith(missing(nameOf(item))));
    if (wide(256) < wide(512)) image.srcset = `${small}, ${large}`;
    image.src = api.thumbnail(item.id, 256);
    return image;
  }

  #activate(id) {
    this.#active = id;
    for (const [key, node] of this.#nodes) {
      for (const stop of node.querySelectorAll("a, button")) stop.tabIndex = key === id ? 0 : -1;
    }
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.#items.findIndex((item) => item.id === this.#active);
    if (at < 0) return;
    if (event.key === "i") {
      event.preventDefault();
      this.#oninfo(this.#items[at]);
      return;
    }
    const to = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      ArrowDown: () => this.#inRow(at, 1),
      ArrowUp: () => this.#inRow(at, -1),
      Home: () => 0,
      End: () => this.#items.length - 1,
    }[event.key]?.();
    if (to === undefined) return;
    event.preventDefault();
    const item = this.#items[to];
    if (item) this.focus(item.id);
  }

  /** The picture of the next or previous row that lies nearest in the horizontal. */
  #inRow(at, step) {
    const { x, w, row } = this.#boxes[at];
    let best = at;
    let nearest = Infinity;
    this.#boxes.forEach((box, index) => {
      const distance = Math.abs(box.x + box.w / 2 - x - w / 2);
      if (box.row === row + step && distance < nearest) [best, nearest] = [index, distance];
    });
    return best;
  }
}
