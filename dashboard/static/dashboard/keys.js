// The keyboard: see the list behind "?".
"use strict";
(() => {
  const rows = () => [...document.querySelectorAll("#live [data-row]")];
  const current = () => document.querySelector("[data-row].current");

  function choose(row) {
    current()?.classList.remove("current");
    row.classList.add("current");
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(current());
    choose(all[Math.min(Math.max(at + by, 0), all.length - 1)]);
  }

  function press(on) {
    const row = current();
    const button = row?.querySelector(`.switch[aria-checked="${on}"]:not(:disabled)`);
    if (button) button.click();
    else Sluice.say(row ? "Nothing here to switch that way." : "Choose a row with j or k first.");
  }

  const keys = {
    "/": () => document.querySelector("[data-focus]")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    d: () => press(true),
    e: () => press(false),
    x: () => current()?.querySelector("[data-explain]")?.click(),
    t: () => current()?.querySelector("[data-test]")?.click(),
    u: () => (document.querySelector("#toasts [data-undo] button") ?? document.querySelector("#live [data-undo] button"))?.click(),
    "?": () => document.getElementById("keys").showModal(),
    Enter: () => current()?.querySelector("[data-open]")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape" && !event.target.closest(".slot")) { event.preventDefault(); event.target.blur(); }
      return;
    }
    if (event.key === "Enter" && event.target !== current()) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
})();
