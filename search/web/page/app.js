/** The page: the address decides what is shown, and everything else follows it. */

import { ApiError, api, inWords, isAbort, onUnauthorized } from "./api.js";
import { Connection } from "./connection.js";
import { Details } from "./details.js";
import { $, basename, button, bytes, el, nearing, pictures, when } from "./dom.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { icon } from "./icons.js";
import { intake } from "./intake.js";
import { addPicture, ask } from "./library.js";
import { askToken, confirm, offerLeaving, showState, toast, wireDialogs } from "./notices.js";
import { QueryCard } from "./query.js";
import { emptyState, statusText } from "./says.js";
import { ORDERS, address, isSearch, parse, queryKey, resultsKey } from "./state.js";
import { keep, recall, tidy } from "./uploads.js";
import { explainer } from "./why.js";

let state = parse(location.search);
let info = null;
let upload = null; // the picture that is searched for is an uploaded one
let query = null; // or one of the library
let shown = null; // {key, items, more, total} as the grid shows it
let loading = null; // the AbortController of the request in flight

/** What each step of this visit showed, so that "back" is immediate. */
const visited = new Map();
const added = new Map(); // uploads that were put into the library: key → id
let step = history.state?.step ?? 0;

const connection = new Connection($("banner"), retryImages);
const grid = new Grid($("grid"), {
  address: (item) => address(fromPicture(item.id)),
  onopen: (item, frame) => go(fromPicture(item.id), { from: frame.getBoundingClientRect(), known: item }),
  oninfo: (item) => showDetails(item.id),
});
const card = new QueryCard($("query"), {
  region: (region) => go({ ...state, region, show: null }),
  score: (minScore) => go({ ...state, minScore }, { replace: true }),
  leave: () => go({ ...fromPicture(null), minScore: 0 }),
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
  why: () => explain(state, upload?.blob),
});

const refuse = (text) => toast(text, "alert");
const complain = (error) => refuse(inWords(error));
const explain = explainer(card.picture, details, complain);

// The address

/** To search from a picture; filters and score stay. */
const fromPicture = (id) => ({ ...state, id, upload: null, region: null, show: null });

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
  const next = parse(location.search);
  if (address(next) === address(state)) return; // the skip link's #grid
  remember();
  step = event.state?.step ?? 0;
  apply(next, { back: visited.get(step) ?? null });
});

async function apply(next, { from = null, known = null, back = null } = {}) {
  const sameQuery = shown && queryKey(next) === queryKey(state);
  const sameResults = shown?.key === resultsKey(next);
  state = next;
  filters.set(state.filters);
  document.body.classList.toggle("searching", isSearch(state));
  renderStart();
  if (!sameQuery) await showQuery(from, known);
  card.score(state.minScore);
  if (isSearch(state)) card.region(state.region);
  if (sameResults) return syncDetails();
  if (back?.key === resultsKey(state)) {
    loading?.abort();
    present(back);
    scrollTo(0, back.scroll);
    grid.focus(back.focus, { scroll: false });
  } else {
    details.close();
    await load();
  }
  syncDetails();
}

// The query

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
    complain(error);
  }
  offerAdding();
}

async function takeFile(file, of) {
  const limit = info?.limits?.upload_bytes;
  if (limit && file.size > limit) {
    return refuse(`${file.name} is too large: this server takes up to ${bytes(limit)}. Make it smaller and try again.`);
  }
  if (of > 1) toast(`Searching for ${file.name}, the first of ${of}.`, "picture");
  try {
    const upload = await keep(file);
    go({ ...fromPicture(null), upload });
  } catch {
    refuse(`${file.name} could not be read. If it is a folder, drop a single picture.`);
  }
}

// The pictures

/** Ask for the first page, or for the next one. */
async function load({ next = false, quiet = false } = {}) {
  loading?.abort();
  const controller = (loading = new AbortController());
  const { signal } = controller;
  const key = resultsKey(state);
  const slow = setTimeout(() => $("columns").classList.add("waiting"), 200);
  try {
    info ??= await api.info(signal).then(introduce);
    if (state.upload && !upload) return present({ key, items: [], more: false, lost: true });
    if (info.pictures === 0) await refreshInfo(signal);
    if (info.pictures === 0) return present({ key, items: [], more: false, empty: true });
    const answer = await ask(state, upload, next ? shown.items.length : 0, signal);
    connection.recovered();
    const items = answer.hits ?? answer.pictures;
    // A random handful has no second page.
    const more = answer.more && items.length > 0 && (isSearch(state) || state.order !== "random");
    if (next) {
      shown = { ...shown, items: [...shown.items, ...items], more };
      grid.append(items);
      say();
      watchTail(shown.more);
    } else {
      if (!quiet) scrollTo(0, 0);
      present({ key, items, more, total: answer.total });
    }
  } catch (error) {
    if (!isAbort(error)) fail(error, { next, key });
  } finally {
    clearTimeout(slow);
    if (loading === controller) {
      loading = null;
      // What is still there belongs to another question.
      $("columns").classList.toggle("waiting", Boolean(connection.waiting) && shown?.key !== key);
    }
  }
}

function present(results) {
  shown = results;
  grid.set(results.items);
  if (results.error) card.actions();
  $("columns").classList.remove("waiting");
  say();
  renderStart();
  renderState();
  watchTail(shown.more);
}

function renderState() {
  showState($("state"), emptyState(state, shown, { go, home, again: () => load(), choose: () => $("file").click() }));
}

function say() {
  const name = upload?.name ?? (query ? basename(query.path) : "this picture");
  const text = statusText(state, shown, name);
  if ($("status").textContent !== text) $("status").textContent = text;
}

function renderStart() {
  $("hero").hidden = isSearch(state) || Boolean(shown?.empty) || Object.keys(state.filters).length > 0;
  $("order").hidden = isSearch(state) || Boolean(shown?.empty);
  const choice = ([order, text]) =>
    el("button", { "aria-pressed": String(order === state.order), text, onclick: () => go({ ...state, order, show: null }) });
  $("order").replaceChildren(...Object.entries(ORDERS).map(choice));
}

const home = () => go(parse(""));

function shuffle() {
  const next = { ...parse(""), filters: isSearch(state) ? {} : state.filters };
  if (address(next) === address(state)) load();
  else go(next);
}

const watchTail = nearing($("tail"), () => {
  if (shown?.more && !loading && !connection.waiting) load({ next: true });
});

// Details

function showDetails(id) {
  if (state.show === id) return closeDetails();
  go({ ...state, show: id }, { replace: state.show !== null, panel: true });
}

function closeDetails() {
  const id = details.id;
  const back = () => grid.focus(grid.item(id) && id) || $("query").querySelector(".actions button")?.focus();
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
  grid.layout(); // beside the details it is narrower
  grid.reveal(state.show);
}

async function removePicture(picture) {
  const sure = await confirm({
    title: `Delete ${picture.name}?`,
    text: "It leaves the library, and its file is deleted from the server. This cannot be undone.",
    yes: "Delete",
  });
  if (!sure) return;
  let job;
  try {
    job = await api.remove(picture.id);
  } catch (error) {
    if (error.status !== 404) return complain(error);
  }
  toast(`${picture.name} is ${job ? "being " : ""}deleted.`);
  for (const [key, id] of added) if (id === picture.id) added.delete(key);
  for (const page of visited.values()) page.items = page.items.filter((item) => item.id !== picture.id);
  refreshInfo();
  if (state.id === picture.id) return go(parse(""), { replace: true });
  shown.items = shown.items.filter((item) => item.id !== picture.id);
  await go({ ...state, show: null }, { replace: true });
  grid.remove(picture.id);
  offerAdding();
  say();
  renderState();
}

// The server

function introduce(answer) {
  info = answer;
  const parts = [pictures(info.pictures), info.encoder, info.version && `parecido ${info.version}`];
  $("library").textContent = parts.filter(Boolean).join("  ·  ");
  $("library").title = info.library ?? "";
  offerAdding();
  offerLeaving(info.session);
  return info;
}

const refreshInfo = (signal) =>
  api.info(signal).then(introduce, (error) => {
    if (isAbort(error)) throw error;
  });

/** What else is wrong takes the pictures' place. */
function fail(error, { next, key }) {
  const again = () => load({ next: next && shown?.key === resultsKey(state), quiet: true });
  if (connection.lost(error, again)) return;
  if (!(error instanceof ApiError)) console.error(error);
  connection.recovered();
  if (next) shown.more = false;
  else present({ key, items: [], more: false, error });
}

/** What did not come while there was no answer, or no token. */
function retryImages() {
  grid.renew();
  card.retryImage();
  if (state.id !== null && !query) nameQuery(queryKey(state));
}

// An empty library may be filling.
setInterval(() => {
  if (shown?.empty && !loading && !connection.waiting && !document.hidden) load({ quiet: true });
}, 4000);

// The keyboard, and the start

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

when($("help-open"), "click", () => $("help").showModal());
when($("shuffle"), "click", shuffle);
when($("home"), "click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  home();
});
onUnauthorized(() => askToken(retryImages));
history.scrollRestoration = "manual";
history.replaceState({ ...history.state, step }, "");
for (const node of document.querySelectorAll("[data-icon]")) node.prepend(icon(node.dataset.icon));
wireDialogs();
intake(takeFile, refuse);
tidy();
apply(state, {});
