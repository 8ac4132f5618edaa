/** Helpers to build elements, and words for numbers. Text is only ever put in as text. */

import { icon } from "./icons.js";

export const $ = (id) => document.getElementById(id);

export const when = (node, happens, action, options) => node.addEventListener(happens, action, options);

/** An element: attributes, `on…` listeners, `text`, then children (false and null are skipped). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if ((value ?? false) === false) continue;
    if (name.startsWith("on")) when(node, name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => (child ?? false) !== false));
  return node;
}

/** A button with an icon; `label` is what it shows, or says when `look` is "square". */
export function button(name, label, onclick, { look = "", ...more } = {}) {
  const square = look.includes("square");
  return el(
    "button",
    { type: "button", class: `button ${look}`, onclick, "aria-label": square && label, title: square && label, ...more },
    name && icon(name),
    !square && el("span", { text: label }),
  );
}

/** What stands in the place of an image that cannot be shown. */
export const missing = (text) => el("span", { class: "missing" }, icon("picture"), text && el("span", { text }));

export const basename = (path) => path.split(/[\\/]/).filter(Boolean).pop() ?? path;

export const nameOf = (picture) => picture.name ?? basename(picture.path);

/** What a picture is called aloud: its file name and best label. */
export function spoken(picture) {
  const name = nameOf(picture);
  const label = picture.labels?.[0]?.[0];
  return label ? `${name}, ${label}` : name;
}

export const count = (n) => n.toLocaleString("en");
export const pictures = (n) => (n === 1 ? "1 picture" : `${count(n)} pictures`);

export function bytes(n) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let power = 0;
  for (; n >= 1000 && power < 4; power += 1) n /= 1000;
  return `${power && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[power]}`;
}

export function date(iso) {
  if (iso?.length < 11) return iso; // in part
  const when = new Date(iso);
  if (!iso || Number.isNaN(when.getTime())) return iso;
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(when);
}

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function debounce(wait, action) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), wait);
  };
}

/** Act when the node is nearly in sight; the answer begins (true) or ends (false) the watch. */
export function nearing(node, action) {
  const observer = new IntersectionObserver(([entry]) => entry.isIntersecting && action(), { rootMargin: "900px" });
  return (on) => {
    observer.unobserve(node); // watched anew each time: only changes are told, and it may still be in sight
    if (on) observer.observe(node);
  };
}
