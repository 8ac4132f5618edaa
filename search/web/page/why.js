/** The places that made two pictures match: the less one adds, the darker it is. */

import { api } from "./api.js";
import { el } from "./dom.js";

/** What asks why the picture in the details was found, where that is wanted, and shows it. */
export function explainer(picture, details, complain) {
  let asked;
  return async ({ id, show, region }, blob) => {
    const mine = (asked = {});
    shade(picture);
    if (!details.why()) return;
    try {
      const { maps } = await api.why(show, region, id, blob);
      if (asked !== mine) return;
      details.why(maps.hit);
      shade(picture, maps.query);
    } catch (error) {
      if (asked === mine) complain(error);
    }
  };
}

/** Shade a picture by what the server says of its cells, or no longer. */
export function shade(root, side) {
  root.querySelector(".shade")?.remove();
  if (!side) return;
  const { width, height, box, shape: [rows, columns], values } = side;
  const cells = el("canvas", { width: columns, height: rows });
  const dark = new ImageData(columns, rows);
  const added = values.flat();
  const most = Math.max(...added, 1e-9);
  added.forEach((value, at) => (dark.data[4 * at + 3] = 190 * (1 - Math.max(value, 0) / most)));
  cells.getContext("2d").putImageData(dark, 0, 0);
  const scale = 512 / Math.max(width, height);
  const whole = el("canvas", { class: "shade", width: width * scale, height: height * scale });
  const pen = whole.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(cells, ...box.map((edge) => edge * scale));
  root.lastElementChild.before(whole);
}
