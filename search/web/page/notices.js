/** What the page says when all is not as usual: states, questions, passing notes. */

import { ApiError, api } from "./api.js";
import { $, button, el, still } from "./dom.js";
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
  setTimeout(() => {
    if (still()) return note.remove();
    note.animate([{ opacity: 1 }, { opacity: 0 }], 200).finished.then(() => note.remove());
  }, 4500);
}

/** Every `data-close` in a dialog closes it; so does a click beside it. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll("dialog.sheet")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
    });
  }
}

export function confirm({ title, text, yes }) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.showModal();
  return new Promise((resolve) => {
    const agree = () => {
      resolve(true);
      dialog.close();
    };
    $("confirm-yes").addEventListener("click", agree);
    dialog.addEventListener("close", () => {
      $("confirm-yes").removeEventListener("click", agree);
      resolve(false);
    }, { once: true });
  });
}

/** Ask for the token until it is right, or until the user gives up (false). */
export function askToken() {
  const dialog = $("token");
  const form = dialog.querySelector("form");
  const wrong = dialog.querySelector(".wrong");
  const input = form.elements.token;
  wrong.hidden = true;
  if (!dialog.open) dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    const submit = async (event) => {
      event.preventDefault();
      try {
        await api.signIn(input.value);
      } catch (error) {
        wrong.textContent =
          error instanceof ApiError && error.status === 401 ? "That is not the token." : error.message;
        wrong.hidden = false;
        input.select();
        return;
      }
      resolve(true);
      dialog.close();
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener("close", () => {
      form.removeEventListener("submit", submit);
      input.value = "";
      resolve(false);
    }, { once: true });
  });
}
