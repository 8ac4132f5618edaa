/** Line icons of 24 by 24, each one path; and the mark: two alike shapes and what they share. */

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  picture: "M6 4h12a3 3 0 0 1 3 3v10a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3zM8.5 8a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3M3.5 17.5l5-4.5 3.5 3 4-4 5 4.5",
  shuffle: "M3 7h3.5c5 0 6 10 11 10H21M3 17h3.5c1.8 0 3-1.2 4-2.8M13.2 9.8c1-1.6 2.3-2.8 4.3-2.8H21M18 4l3 3-3 3M18 14l3 3-3 3",
  filter: "M3 7h10.5M18.5 7H21M3 17h2.5M10.5 17H21M16 4.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5M8 14.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5",
  theme: "M20.5 14.5A8.7 8.7 0 1 1 9.5 3.5a7 7 0 0 0 11 11z",
  help: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18M9.5 9.5a2.5 2.5 0 1 1 3.7 2.2c-.8.5-1.2 1-1.2 1.8M12 16.8v.1",
  close: "M6 6l12 12M18 6L6 18",
  info: "M12 10.5v9M12 5v.1",
  part: "M4 8.5V6a2 2 0 0 1 2-2h2.5M15.5 4H18a2 2 0 0 1 2 2v2.5M20 15.5V18a2 2 0 0 1-2 2h-2.5M8.5 20H6a2 2 0 0 1-2-2v-2.5",
  copy: "M11 8.5h7a2.5 2.5 0 0 1 2.5 2.5v7a2.5 2.5 0 0 1-2.5 2.5h-7A2.5 2.5 0 0 1 8.5 18v-7A2.5 2.5 0 0 1 11 8.5zM5.5 15.5a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2",
  open: "M13.5 4H20v6.5M20 4l-9 9M17.5 14v4a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V8.5a2 2 0 0 1 2-2h4",
  download: "M12 4v11M7.5 10.5L12 15l4.5-4.5M4.5 20h15",
  delete: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7M10.3 11v5M13.7 11v5",
  add: "M12 5v14M5 12h14",
  check: "M5 12.5l4.5 4.5L19 7.5",
  previous: "M14.5 6l-6 6 6 6",
  next: "M9.5 6l6 6-6 6",
  alike: "M9 3.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11M15 9.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11",
  key: "M8 11.5a4 4 0 1 1 0 8 4 4 0 0 1 0-8M11 12.5L19.5 4M16 7.5l2.5 2.5",
  alert: "M12 8v5.5M12 16.8v.1M10.4 4.4L2.9 17.3A1.9 1.9 0 0 0 4.5 20h15a1.9 1.9 0 0 0 1.6-2.7L13.6 4.4a1.9 1.9 0 0 0-3.2 0z",
};
const MARK = [
  "M5 3h7.5a9.5 9.5 0 1 1-9.5 9.5V5a2 2 0 0 1 2-2z",
  "M27 29h-7.5a9.5 9.5 0 1 1 9.5-9.5V27a2 2 0 0 1-2 2z",
  "M21.73 10.27A9.5 9.5 0 0 1 10.27 21.73 9.5 9.5 0 0 1 21.73 10.27z",
];

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function icon(name) {
  const mark = name === "mark";
  const side = mark ? 32 : 24;
  const svg = draw("svg", { class: mark ? "mark" : "icon", viewBox: `0 0 ${side} ${side}`, "aria-hidden": "true" });
  svg.append(...(mark ? MARK : [PATHS[name]]).map((d) => draw("path", { d })));
  return svg;
}
