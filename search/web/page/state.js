/** What the page shows, as its address: the query string holds all of it. */

/** The filters, and what they are called. */
export const SAYS = {
  path: "Path", label: "Label", format: "Format", min_width: "Width ≥", min_height: "Height ≥", max_width: "Width ≤",
  max_height: "Height ≤", taken_from: "Taken from", taken_to: "Taken to", added_since: "Added since",
};
export const FILTERS = Object.keys(SAYS);
export const ORDERS = { random: "Random", added: "Newest", path: "By path" };

const EMPTY = { id: null, upload: null, region: null, minScore: 0, order: "random", show: null, filters: {} };

const number = (text) => (/^\d+$/.test(text ?? "") ? Number(text) : null);

export function parse(search) {
  const params = new URLSearchParams(search);
  const filters = {};
  for (const name of FILTERS) {
    const value = params.get(name)?.trim();
    if (value) filters[name] = value;
  }
  const score = Number.parseFloat(params.get("min_score"));
  const order = params.get("order");
  const id = number(params.get("id"));
  return {
    id,
    upload: id === null ? params.get("upload") : null,
    region: params.get("region") || null,
    minScore: score > 0 ? Math.min(score, 1) : 0,
    order: Object.hasOwn(ORDERS, order ?? "") ? order : "random",
    show: number(params.get("show")),
    filters,
  };
}

/** The address of a state, relative to the page. */
export function address(state) {
  const params = new URLSearchParams();
  const { id, upload, region, minScore, order, show, filters } = { ...EMPTY, ...state };
  if (id !== null) params.set("id", id);
  else if (upload) params.set("upload", upload);
  if (region && (id !== null || upload)) params.set("region", region);
  if (minScore > 0) params.set("min_score", String(Number(minScore.toFixed(2))));
  if (order !== "random" && id === null && !upload) params.set("order", order);
  for (const name of FILTERS) if (filters[name]) params.set(name, filters[name]);
  if (show !== null) params.set("show", show);
  const query = params.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return query ? `?${query}` : "./";
}

/** What decides the pictures in the grid: everything but the details that are open. */
export const resultsKey = (state) => address({ ...state, show: null });

export const queryKey = (state) => (state.id !== null ? `id:${state.id}` : state.upload ? `upload:${state.upload}` : "");

export const isSearch = (state) => queryKey(state) !== "";

/** The filters as the server takes them. A bare word as path stands for "somewhere in it". */
export function filterParams({ filters }) {
  const path = filters.path;
  if (!path || /[*?[]/.test(path) || /^([\\/]|[a-z]:)/i.test(path)) return filters;
  return { ...filters, path: `*${path}*` };
}

/** A region of the address as fractions of the picture, or null where it makes no sense. */
export function parseRegion(text, width, height) {
  const parts = (text ?? "").split(",");
  if (parts.length !== 4) return null;
  const [x, y, w, h] = parts.map((part, at) => {
    const value = Number.parseFloat(part);
    return part.trim().endsWith("%") ? value / 100 : value / (at % 2 ? height : width);
  });
  if (![x, y, w, h].every(Number.isFinite) || w <= 0 || h <= 0 || x < 0 || y < 0 || x + w > 1.001 || y + h > 1.001) {
    return null;
  }
  return { x, y, w, h };
}

export function formatRegion({ x, y, w, h }) {
  // Rounded so that the far edge never passes 100 %.
  const tenths = (value) => Math.round(value * 1000);
  const [left, top] = [tenths(x), tenths(y)];
  const [width, height] = [Math.min(tenths(w), 1000 - left), Math.min(tenths(h), 1000 - top)];
  return [left, top, width, height].map((value) => `${value / 10}%`).join(",");
}
