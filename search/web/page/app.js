/** The page: the address decides what is shown, and everything else follows it. */

import { ApiError, Offline, api, isAbort, onUnauthorized } from "./api.js";
import { Details } from "./details.js";
import { $, basename, button, count, el, pictures } from "./dom.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { intake } from "./intake.js";
import { addPicture } from "./library.js";
import { Banner, askToken, confirm, showState, toast, wireDialogs } from "./notices.js";
import { QueryCard } from "./query.js";
import { ORDERS, address, filterParams, isSearch, parse, queryKey, resultsKey } from "./state.js";
import { keep, recall, tidy } from "./uploads.js";

let state = parse(location.search);
let info = null;
let upload = null; // the uploaded picture that is searched for
let query = null; // the library's picture that is searched for, once known
let shown = null; // {key, items, more, total} as the grid shows it
let loading = null; // the AbortController of the request in flight
let failures = 0;
let waiting = null; // what is to be tried again once the server answers

/** What was shown at each step of this visit, so that "back" is immediate and finds its place. */
const visited = new Map();
const added = new Map(); // uploads that were put into the library: key → id
let step = history.state?.step ?? 0;

const banner = new Banner($("banner"));
const grid = new Grid($("grid"), {
  address: (item) => address(fromPicture(item.id)),
  onopen: (item, frame) => go(fromPicture(item.id), { from: frame.getBoundingClientRect(), known: item }),
  oninfo: (item) => showDetails(item.id),
});
const card = new QueryCard($("query"), {
  region: (region) => go({ ...state, region, show: null }),
  score: (minScore) => go({ ...state, minScore }, { replace: true }),
  leave: () => go({ ...state, id: null, upload: null, region: null, minScore: 0, show: null }),
});
const filters = new Filters(
  { form: $("filters"), toggle: $("toggle-filters"), chips: $("chips"), count: $("filter-count") },
  (chosen) => go({ ...state, filters: chosen, show: null }),
);
const details = new Details($("details"), {
  close: closeDetails,
  search: (picture) => go(fromPicture(picture.id), { known: picture }),
  step: (by) => {
    const next = grid.neighbour(details.id, by);
    if (next) showDetails(next.id);
  },
  label: (label) => go({ ...state, filters: { ...state.filters, label }, show: null }),
  remove: removePicture,
});

// ---- The address -----------------------------------------------------------

/** To search from a picture; the filters and the minimum score stay. */
function fromPicture(id) {
  return { ...state, id, upload: null, region: null, show: null };
}

function remember() {
  const active = $("grid").contains(document.activeElement) ? document.activeElement.closest("li") : null;
  if (shown) visited.set(step, { ...shown, scroll: scrollY, focus: active ? Number(active.dataset.id) : null });
}

function go(next, { replace = false, from = null, known = null, panel = false } = {}) {
  remember();
  if (address(next) === address(state) && !replace) return apply(state, {});
  if (replace) history.replaceState({ ...history.state, step }, "", address(next));
  else {
    step += 1;
    for (const later of visited.keys()) if (later >= step) visited.delete(later);
    history.pushState({ step, panel }, "", address(next));
  }
  return apply(next, { from, known });
}

addEventListener("popstate", (event) => {
  if (parse(location.search).show === state.show && resultsKey(parse(location.search)) === resultsKey(state)) return; // #grid
  remember();
  step = event.state?.step ?? 0;
  apply(parse(location.search), { back: visited.get(step) ?? null });
});

/** Bring the page to a state. */
async function apply(next, { from = null, known = null, back = null } = {}) {
  const sameQuery = shown && queryKey(next) === queryKey(state);
  const sameResults = shown?.key === resultsKey(next);
  state = next;
  filters.set(state.filters);
  document.body.classList.toggle("searching", isSearch(state));
  $("hero").hidden = isSearch(state) || Object.keys(state.filters).length > 0;
  renderOrder();
  if (!sameQuery) await showQuery(from, known);
  card.score(state.minScore);
  if (isSearch(state)) card.region(state.region);
  if (sameResults) return syncDetails();
  const focused = grid.holdsFocus();
  if (back?.key === resultsKey(state)) {
    loading?.abort();
    present(back);
    scrollTo(0, back.scroll);
    if (focused || back.focus) grid.focus(back.focus, { scroll: false });
  } else {
    details.close();
    await load({ focused });
  }
  syncDetails();
}

// ---- The query -------------------------------------------------------------

async function showQuery(from, known) {
  upload = query = null;
  document.title = "parecido";
  card.actions();
  if (!isSearch(state)) return card.hide();
  const key = queryKey(state);
  if (state.id !== null) {
    const picture = known ?? grid.item(state.id) ?? { id: state.id };
    query = picture.path ? picture : null;
    card.library(picture, from);
    card.actions(button("info", "Details", () => showDetails(state.id), { look: "quiet" }));
    if (query) document.title = `${basename(query.path)} · parecido`;
    else nameQuery(key);
    return;
  }
  const found = await recall(state.upload);
  if (queryKey(state) !== key) return;
  upload = found;
  if (!upload) return card.hide();
  document.title = `${upload.name} · parecido`;
  card.upload(upload);
  offerAdding();
}

async function nameQuery(key) {
  const picture = await api.picture(state.id).catch(() => null); // the search itself says what is wrong
  if (!picture || queryKey(state) !== key) return;
  query = picture;
  card.library(picture);
  document.title = `${picture.name} · parecido`;
  if (shown?.key === resultsKey(state)) say();
}

function offerAdding() {
  if (!upload) return;
  const id = added.get(upload.key);
  if (id !== undefined) card.actions(button("check", "In the library", () => showDetails(id), { look: "quiet" }));
  else if (info?.uploads && !info.read_only) {
    card.actions(button("add", "Add to library", addUpload, { look: "quiet", "data-testid": "add" }));
  } else card.actions();
}

async function addUpload() {
  const mine = upload;
  const tell = (text) => upload === mine && card.actions(el("p", { class: "note", role: "status", text }));
  tell("Adding …");
  try {
    const picture = await addPicture(mine, tell);
    added.set(mine.key, picture.id);
    const label = picture.labels?.[0]?.[0];
    toast(label ? `Added as ${picture.name}: ${label}` : `Added as ${picture.name}`);
    refreshInfo();
    visited.clear();
    if (upload === mine) await load({ quiet: true });
  } catch (error) {
    toast([error.message, error.remedy].filter(Boolean).join(" "), "unread");
  }
  offerAdding();
}

async function takeFile(file, of) {
  const limit = info?.limits?.upload_bytes;
  if (limit && file.size > limit) {
    toast(`${file.name} is too large: this server takes up to ${Math.floor(limit / 1e6)} MB. Make it smaller and try again.`, "unread");
    return;
  }
  if (of > 1) toast(`Searching for ${file.name}, the first of ${of}.`, "picture");
  try {
    go({ ...state, id: null, region: null, show: null, upload: await keep(file) });
  } catch {
    toast(`${file.name} could not be read. A folder? Drop a single picture.`, "unread");
  }
}

// ---- The pictures ----------------------------------------------------------

/** How many to ask for: a screen and a half; fewer requests for an upload, which travels each time. */
function page() {
  const rows = Math.ceil(innerHeight / 240) + 2;
  const some = Math.ceil((innerWidth / 290) * rows);
  return state.upload ? 96 : Math.min(Math.max(some, 24), 96);
}

function ask(offset, signal) {
  const chosen = filterParams(state);
  if (!isSearch(state)) {
    const limit = state.order === "random" ? (innerWidth > 1800 ? 48 : 24) : page();
    return api.pictures({ ...chosen, order: state.order, limit, offset }, signal);
  }
  const params = { ...chosen, k: page(), offset, region: state.region, min_score: state.minScore || null };
  if (state.id !== null) return api.similar(state.id, params, signal);
  return api.search(upload.blob, params, signal);
}

/** Ask for the first page of what the address says, or for the next one. */
async function load({ next = false, focused = false, quiet = false } = {}) {
  loading?.abort();
  const controller = (loading = new AbortController());
  const { signal } = controller;
  const key = resultsKey(state);
  if (state.upload && !upload) return present({ key, items: [], more: false, lost: true });
  const slow = setTimeout(() => $("columns").classList.add("waiting"), 200);
  try {
    info ??= await api.info(signal).then(introduce);
    if (info.pictures === 0) await refreshInfo(signal);
    if (info.pictures === 0) return present({ key, items: [], more: false, empty: true });
    const answer = await ask(next ? shown.items.length : 0, signal);
    recovered();
    const items = answer.hits ?? answer.pictures;
    // A random handful has no second page: the order is another one with every request.
    const more = answer.more && items.length > 0 && (isSearch(state) || state.order !== "random");
    if (next) {
      shown = { ...shown, items: [...shown.items, ...items], more };
      grid.append(items);
      say();
      watchTail();
    } else {
      if (!quiet) scrollTo(0, 0);
      present({ key, items, more, total: answer.total });
      if (focused && !details.id) grid.focus(items[0]?.id, { scroll: false });
    }
  } catch (error) {
    if (!isAbort(error)) fail(error, { next, key });
  } finally {
    clearTimeout(slow);
    if (loading === controller) {
      loading = null;
      $("columns").classList.remove("waiting");
    }
  }
}

function present(results) {
  shown = results;
  grid.set(results.items);
  $("columns").classList.remove("waiting");
  say();
  renderState();
  watchTail();
}

function say() {
  const n = shown.items.length;
  const name = upload?.name ?? (query ? basename(query.path) : "this picture");
  let text = "";
  if (isSearch(state)) {
    const what = `like ${state.region ? "this part of " : ""}${name}`;
    text = n ? `${shown.more ? `The first ${pictures(n)}` : pictures(n)} ${what}` : `Nothing found ${what}`;
  } else if (n) {
    const of = shown.total > n ? ` of ${count(shown.total)}` : "";
    text = state.order === "random" && of ? `${count(n)}${of} pictures, at random` : of ? `${count(n)}${of} pictures` : pictures(n);
  }
  if (shown.lost || shown.empty || shown.error) text = "";
  if ($("status").textContent !== text) $("status").textContent = text;
}

function renderState() {
  const box = $("state");
  const filtered = Object.keys(state.filters).length > 0;
  const actions = [];
  const choose = ["Choose a picture", () => $("file").click(), "accent"];
  if (state.minScore > 0 && isSearch(state)) {
    const lower = state.minScore > 0.35 ? Math.round((state.minScore - 0.2) * 20) / 20 : 0;
    actions.push([lower ? `Lower the minimum score to ${lower.toFixed(2)}` : "Allow any score", () => go({ ...state, minScore: lower }), "accent"]);
  }
  if (filtered) actions.push(["Remove the filters", () => go({ ...state, filters: {} }), actions.length ? "" : "accent"]);
  if (state.region) actions.push(["Search the whole picture", () => go({ ...state, region: null }), actions.length ? "" : "accent"]);
  if (shown.error) {
    const { message, remedy, status } = shown.error;
    if (status === 401) {
      return showState(box, { look: "key", title: "This library asks for a token", actions: [["Enter the token", restart, "accent"]] });
    }
    const gone = status === 404 && state.id !== null;
    const picky = status === 400 && actions.length > 0;
    return showState(box, {
      look: "unread",
      title: gone ? "This picture is not in the library" : message,
      text: gone ? "It may have been removed since the link was made." : remedy,
      actions: gone ? [["Start anew", home, "accent"]] : picky ? actions : state.upload ? [choose] : [["Try again", restart, "accent"]],
    });
  }
  if (shown.lost) {
    return showState(box, {
      title: "This picture is not in the library",
      text: "The link belongs to a picture that somebody searched with and that never left their browser. Drop the same picture here to search with it.",
      actions: [choose, ["Look at the library", home]],
    });
  }
  if (shown.empty) {
    return showState(box, {
      look: "mark",
      title: "No pictures yet",
      text: ["Point parecido at a folder; this page fills by itself as soon as the first ones are there."],
      code: "parecido index FOLDER",
    });
  }
  if (!shown.items.length) {
    return showState(box, {
      title: isSearch(state) ? "Nothing found" : "No picture passes these filters",
      text: actions.length ? "The conditions leave nothing over." : "No other picture is in the library.",
      actions,
    });
  }
  showState(box);
}

function renderOrder() {
  $("order").hidden = isSearch(state);
  $("order").replaceChildren(
    ...Object.entries(ORDERS).map(([order, text]) =>
      el("button", { type: "button", "aria-pressed": String(order === state.order), text, onclick: () => (order === "random" && state.order === order ? shuffle() : go({ ...state, order, show: null })) }),
    ),
  );
}

const home = () => go({ ...parse(""), filters: {} });
const restart = () => load();

function shuffle() {
  const next = { ...parse(""), filters: isSearch(state) ? {} : state.filters };
  if (address(next) === address(state)) load();
  else go(next);
}

const tail = new IntersectionObserver(([entry]) => {
  if (entry.isIntersecting && shown?.more && !loading && !waiting) load({ next: true });
}, { rootMargin: "900px" });

/** Observed anew after every page: the observer only tells changes, and the end may still be in sight. */
function watchTail() {
  tail.unobserve($("tail"));
  if (shown.more) tail.observe($("tail"));
}

// ---- Details ---------------------------------------------------------------

function showDetails(id) {
  if (state.show === id) return details.close(), syncDetails();
  go({ ...state, show: id }, { replace: state.show !== null, panel: true });
}

function closeDetails() {
  const id = details.id;
  const back = () => grid.focus(id, { scroll: true });
  if (history.state?.panel) {
    addEventListener("popstate", back, { once: true });
    history.back();
  } else {
    go({ ...state, show: null }, { replace: true });
    back();
  }
}

function syncDetails() {
  document.body.classList.toggle("detailed", state.show !== null);
  grid.mark(state.show);
  if (state.show === null) return details.close();
  const known = grid.item(state.show) ?? (query?.id === state.show ? query : null);
  const steps = [-1, 1].filter((by) => grid.neighbour(state.show, by));
  const mayDelete = Boolean(info?.uploads) && !info.read_only;
  details.open(state.show, known, { mayDelete, steps });
  requestAnimationFrame(() => grid.reveal(state.show));
}

async function removePicture(picture) {
  const sure = await confirm({
    title: `Delete ${picture.name}?`,
    text: "It leaves the library, and its file is deleted from the server. This cannot be undone.",
    yes: "Delete",
  });
  if (!sure) return;
  try {
    await api.remove(picture.id);
  } catch (error) {
    if (error.status !== 404) return toast([error.message, error.remedy].filter(Boolean).join(" "), "unread");
  }
  toast(`${picture.name} is deleted.`);
  for (const [key, id] of added) if (id === picture.id) added.delete(key);
  for (const page of visited.values()) page.items = page.items.filter((item) => item.id !== picture.id);
  refreshInfo();
  if (state.id === picture.id) return go({ ...parse(""), filters: {} }, { replace: true });
  shown.items = shown.items.filter((item) => item.id !== picture.id);
  await go({ ...state, show: null }, { replace: true });
  grid.remove(picture.id);
  offerAdding();
  say();
  renderState();
}

// ---- The server ------------------------------------------------------------

function introduce(answer) {
  info = answer;
  const parts = [pictures(info.pictures), info.encoder, info.version && `parecido ${info.version}`];
  $("library").textContent = parts.filter(Boolean).join("  ·  ");
  $("library").title = info.library ?? "";
  offerAdding();
  return info;
}

async function refreshInfo(signal) {
  try {
    introduce(await api.info(signal));
  } catch (error) {
    if (isAbort(error)) throw error;
  }
}

/** The server is away or busy: say so and try again; whatever else is wrong takes the pictures' place. */
function fail(error, { next, key }) {
  const busy = error instanceof ApiError && error.status === 503;
  if (!(error instanceof Offline) && !busy) {
    if (!(error instanceof ApiError)) console.error(error);
    recovered();
    if (next) shown.more = false;
    else present({ key, items: [], more: false, error });
    return;
  }
  failures += 1;
  const seconds = (busy && error.retryAfter) || Math.min(2 ** failures, 30);
  waiting = () => {
    const still = next && shown?.key === resultsKey(state);
    waiting = null;
    load({ next: still, quiet: true });
  };
  banner.show(busy ? error.message : "The server does not answer.", seconds, waiting);
}

function recovered() {
  if (!failures) return;
  failures = 0;
  waiting = null;
  banner.hide();
  grid.retryImages();
}

addEventListener("online", () => waiting?.());

// An empty library is looked at again now and then: it may be filling.
setInterval(() => {
  if (shown?.empty && !loading && !waiting && !document.hidden) load({ quiet: true });
}, 4000);

// ---- The keyboard, and the start -------------------------------------------

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input:not([type=range]), select, textarea");
  if (event.key === "Escape") {
    if (filters.isOpen && (typing || state.show === null)) filters.close();
    else if (state.show !== null) closeDetails();
  } else if (typing || document.querySelector("dialog:modal")) return;
  else if (event.key === "/") {
    event.preventDefault();
    filters.open();
  } else if (event.key === "?") $("help").showModal();
});

$("help-open").addEventListener("click", () => $("help").showModal());
$("shuffle").addEventListener("click", shuffle);
$("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  home();
});
$("sign-out").addEventListener("click", () => api.signOut().then(() => location.reload()));
onUnauthorized(async () => {
  const signedIn = await askToken();
  $("sign-out").hidden = !signedIn;
  if (signedIn) grid.retryImages();
  return signedIn;
});
history.scrollRestoration = "manual";
history.replaceState({ ...history.state, step }, "");
wireDialogs();
intake(takeFile, (text) => toast(text, "unread"));
tidy();
apply(state, {});
