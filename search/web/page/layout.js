/** Rows of equal height that fill the width, as in a photo gallery. */

// Panoramas and columns are cropped in the grid beyond these shapes; a row could not hold them.
const NARROWEST = 0.5;
const WIDEST = 3.2;

export const rowHeight = (width) => (width < 480 ? 150 : width < 900 ? 180 : width < 1800 ? 210 : 250);

/**
 * Place pictures of `shapes` (width / height) in rows.
 * Answers boxes {x, y, w, h, row} and the height of it all; `below` is room for a caption.
 */
export function justify(shapes, width, { target, gap, below }) {
  const boxes = [];
  const ratios = shapes.map((shape) => Math.min(Math.max(shape, NARROWEST), WIDEST));
  let start = 0;
  let y = 0;
  let row = 0;
  const fit = (sum, n) => (width - gap * (n - 1)) / sum;
  const place = (end, height) => {
    let x = 0;
    const h = Math.round(height);
    for (let at = start; at < end; at += 1) {
      // The edge of what came before is rounded, not each width, so that rows end flush.
      const right = Math.min(x + ratios[at] * height, width);
      boxes.push({ x: Math.round(x), y, w: Math.round(right) - Math.round(x), h, row });
      x += ratios[at] * height + gap;
    }
    y += h + below;
    row += 1;
    start = end;
  };
  let sum = 0;
  for (let at = 0; at < ratios.length; at += 1) {
    sum += ratios[at];
    const with_ = fit(sum, at - start + 1);
    if (with_ > target) continue;
    // The row is full: with this picture it is too low, without it too high. Take what is nearer.
    const without = at > start ? fit(sum - ratios[at], at - start) : Infinity;
    if (without / target < target / with_) {
      place(at, without);
      sum = ratios[at];
      if (fit(sum, 1) <= target) {
        place(at + 1, fit(sum, 1));
        sum = 0;
      }
    } else {
      place(at + 1, with_);
      sum = 0;
    }
  }
  if (start < ratios.length) place(ratios.length, Math.min(target, fit(sum, ratios.length - start)));
  return { boxes, height: Math.max(y, 0) };
}
