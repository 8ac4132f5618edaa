/** The ways in for a picture: chosen, dropped anywhere, pasted. */

import { $, when } from "./dom.js";

/** `take(file, of)` gets one of so many; `refuse(text)` says why there is none. */
export function intake(take, refuse) {
  const input = $("file");
  for (const id of ["choose", "hero-choose"]) when($(id), "click", () => input.click());
  when(input, "change", () => {
    const [file] = input.files;
    if (file) take(file, 1);
    input.value = ""; // so that the same file can be chosen again
  });

  // The page's own pictures can be dragged too; those are no files from outside.
  let own = false;
  let depth = 0;
  const curtain = $("dropping");
  const ours = ({ dataTransfer }) => !own && dataTransfer?.types.some((type) => type === "Files" || type === "text/uri-list");
  const calm = () => {
    depth = 0;
    curtain.hidden = true;
  };
  addEventListener("dragstart", () => (own = true));
  addEventListener("dragend", () => (own = false));
  addEventListener("dragenter", (event) => {
    if (!ours(event)) return;
    event.preventDefault();
    depth += 1;
    curtain.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (ours(event) && (depth -= 1) <= 0) calm();
  });
  addEventListener("dragover", (event) => {
    if (!ours(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    calm();
    if (!ours(event)) return;
    event.preventDefault();
    pick(event.dataTransfer.files, "Drop the picture's file: from another web page, save it first, or copy and paste it.");
  });
  addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (!files.length && event.target.closest?.("input, textarea")) return;
    event.preventDefault();
    pick(files, "There is no picture in the clipboard.");
  });

  function pick(files, otherwise) {
    const all = [...files];
    const file = all.find((one) => one.type.startsWith("image/")) ?? all[0];
    if (file) take(file, all.length);
    else refuse(otherwise);
  }
}
