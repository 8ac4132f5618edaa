/** The words for what was found, and for why nothing was. */

import { count, pictures } from "./dom.js";
import { isSearch } from "./state.js";

/** The line above the grid; `name` is the query's. */
export function statusText(state, shown, name) {
  const n = shown.items.length;
  if (shown.lost || shown.empty || shown.error) return "";
  if (isSearch(state)) {
    const what = `like ${state.region ? "this part of " : ""}${name}`;
    if (!n) return `Nothing found ${what}`;
    return `${shown.more ? `The first ${pictures(n)}` : pictures(n)} ${what}`;
  }
  if (!n) return "";
  if (!(shown.total > n)) return pictures(n);
  return `${count(n)} of ${count(shown.total)} pictures${state.order === "random" ? ", at random" : ""}`;
}

/** What stands in the place of pictures, for showState; undefined where there are some. */
export function emptyState(state, shown, { go, home, again, choose }) {
  if (shown.items.length) return undefined;
  const picture = ["Choose a picture", choose, "accent"];
  if (shown.lost) {
    return {
      title: "This picture is not in the library",
      text: "It was only searched with, in another browser or days ago. Choose it again to search again.",
      actions: [picture, ["Look at the library", home]],
    };
  }
  if (shown.empty) {
    return {
      look: "mark",
      title: "No pictures yet",
      text: "Point parecido at a folder. This page fills by itself as soon as the first pictures are there.",
      code: "parecido index FOLDER",
    };
  }
  const loosen = loosened(state).map(([label, next], at) => [label, () => go(next), at ? "" : "accent"]);
  if (!shown.error) {
    return {
      title: isSearch(state) ? "Nothing found" : "No picture passes these filters",
      text: state.minScore > 0 && isSearch(state)
        ? `No picture comes to a score of ${state.minScore.toFixed(2)}.`
        : loosen.length ? "" : "There is no other picture in the library.",
      actions: loosen,
    };
  }
  const { message, remedy, status } = shown.error;
  if (status === 401) {
    return { look: "key", title: "This library asks for a token", actions: [["Enter the token", again, "accent"]] };
  }
  if (status === 404 && state.id !== null) {
    return {
      title: "This picture is not in the library",
      text: "It may have been removed since the link was made.",
      actions: [["Look at the library", home, "accent"]],
    };
  }
  const other = state.upload ? [picture] : [["Try again", again, "accent"]];
  return { look: "alert", title: message, text: remedy, actions: status === 400 && loosen.length ? loosen : other };
}

function loosened(state) {
  const ways = [];
  if (isSearch(state) && state.minScore > 0) {
    const lower = state.minScore > 0.35 ? Math.round((state.minScore - 0.2) * 20) / 20 : 0;
    const label = lower ? `Lower the minimum score to ${lower.toFixed(2)}` : "Allow any score";
    ways.push([label, { ...state, minScore: lower }]);
  }
  if (Object.keys(state.filters).length) ways.push(["Remove the filters", { ...state, filters: {} }]);
  if (isSearch(state) && state.region) ways.push(["Search the whole picture", { ...state, region: null }]);
  return ways;
}
