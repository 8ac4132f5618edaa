/** What the page says when all is not as usual: states, questions, passing notes. */

import { api, inWords } from "./api.js";
import { $, button, el, when } from "./dom.js";
import { icon } from "./icons.js";

/** What stands where the pictures would be. Actions are [label, function, look]. */
export function showState(root, { look = "picture", title, text, code, actions = [] } = {}) {
  root.hidden = !title;
  root.replaceChildren();
  if (!title) return;
  root.append(
    icon(look),
    el("h2", { text: title }),
    ...(text ? [el("p", { text })] : []),
    ...(code ? [el("pre", {}, el("code", { text: code }))] : []),
    el("div", { class: "row" }, ...actions.map(([label, action, kind = ""]) => button(null, label, action, { look: kind }))),
  );
}

export function toast(text, look = "check") {
  const note = el("div", { class: "toast" }, icon(look), el("span", { text }));
  $("toasts").append(note);
  setTimeout(() => note.remove(), 5000);
}

/** Every `data-close` in a dialog closes it; so does a click beside it. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll("dialog.sheet")) {
    when(dialog, "click", (event) => {
      if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
    });
  }
}

/** Open a dialog; `onyes` may refuse by answering false. Resolves to whether it was agreed to. */
function ask(dialog, target, event, onyes) {
  const end = new AbortController();
  const { signal } = end;
  dialog.showModal();
  return new Promise((resolve) => {
    when(target, event, async (happened) => {
      happened.preventDefault();
      if (!(await onyes())) return;
      resolve(true);
      dialog.close();
    }, { signal });
    when(dialog, "close", () => {
      end.abort();
      resolve(false);
    }, { signal });
  });
}

export function confirm({ title, text, yes }) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  return ask($("confirm"), $("confirm-yes"), "click", () => true);
}

/** Ask for the token until it is right, or until the user gives up. */
export async function askToken(onright) {
  const form = $("token").querySelector("form");
  const wrong = form.querySelector(".wrong");
  const input = form.elements.token;
  wrong.hidden = true;
  const agreed = await ask($("token"), form, "submit", async () => {
    try {
      await api.signIn(input.value);
      return true;
    } catch (error) {
      wrong.textContent = error.status === 401 ? "That is not the token." : error.message;
      wrong.hidden = false;
      input.select();
      return false;
    }
  });
  input.value = "";
  if (agreed) onright();
  return agreed;
}

/** Offer the way out, behind which nothing of the library is shown. */
export function offerLeaving(session) {
  $("leave").hidden = !session;
  $("leave").onclick = () => api.signOut().then(() => (location = "./"), (error) => toast(inWords(error), "alert"));
}
