// A classic script in the head, so that the theme is there before the first paint.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = (action) => {
    try {
      return action(localStorage);
    } catch {
      return null; // storage may be forbidden: then a choice holds until the page is left
    }
  };
  const remembered = stored((items) => items.getItem("parecido-theme"));
  if (remembered === "light" || remembered === "dark") root.dataset.theme = remembered;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      const text = isDark() ? "Light theme" : "Dark theme";
      button.setAttribute("aria-label", text);
      button.title = text;
    };
    name();
    dark.addEventListener("change", name);
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      name();
      stored((items) => items.setItem("parecido-theme", root.dataset.theme));
    });
  });
})();
