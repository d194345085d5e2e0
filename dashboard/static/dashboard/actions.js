// Dialogs, inline questions, notes with their undo, and what to say when the network fails.
"use strict";
(() => {
  const dialog = document.getElementById("dialog");
  const toasts = document.getElementById("toasts");

  // htmx looks for the place of an answer from the element that asked. One whose surroundings go while it is
  // under way (a list read anew, a dialog closed, a note gone) waits here, or its answer would be lost.
  const waiting = document.createElement("div");
  waiting.hidden = true;
  document.body.append(waiting);

  function keepAsking(root) {
    for (const one of [...(root.matches(".htmx-request") ? [root] : root.querySelectorAll(".htmx-request"))]) waiting.append(one);
  }

  function empty(root) {
    keepAsking(root);
    root.replaceChildren();
  }

  function drop(box) {
    keepAsking(box);
    box.remove();
  }

  document.body.addEventListener("htmx:beforeSwap", (event) => { if (event.detail.target.id === "live") keepAsking(event.detail.target); });
  document.body.addEventListener("htmx:afterRequest", (event) => { if (event.detail.elt.parentElement === waiting) event.detail.elt.remove(); });

  function note(text) {
    const box = document.createElement("div");
    box.className = "toast failed";
    box.setAttribute("role", "alert");
    box.innerHTML = '<svg class="i" aria-hidden="true"><use href="#i-bad"></use></svg><div><p></p></div>' +
      '<button class="tool" type="button" data-dismiss><svg class="i" aria-hidden="true"><use href="#i-close"></use></svg><span class="sr">Dismiss</span></button>';
    box.querySelector("p").textContent = text;
    toasts.append(box);
    fade(box, 15);
  }

  function fade(box, seconds) {
    let left = seconds;
    const timer = setInterval(() => {
      if (!box.isConnected) { clearInterval(timer); return; }
      if (!box.matches(":hover, :focus-within")) left -= 1;
      if (left <= 0) { clearInterval(timer); drop(box); }
    }, 1000);
  }

  function guard(root) {
    const typed = root.querySelector("[data-phrase]");
    if (!typed) return;
    const button = root.querySelector("button[type=submit]");
    const check = () => { button.disabled = typed.value.trim() !== typed.dataset.phrase; };
    typed.addEventListener("input", check);
    check();
  }

  // A button says for a moment that it copied. Over plain HTTP to another machine browsers have no clipboard.
  async function copy(text, button) {
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      said = "Not copied: the browser allows it on HTTPS and localhost only";
    }
    Sluice.say(said);
    const mark = document.createElement("span");
    mark.className = "copied";
    mark.textContent = said;
    button.querySelector(".copied")?.remove();
    button.append(mark);
    setTimeout(() => mark.remove(), 2500);
  }

  function cancel(link) {
    if (dialog.contains(link)) { dialog.close(); return true; }
    const slot = link.closest(".slot");
    if (!slot) return false;
    const button = slot.parentElement.querySelector(".switch");
    empty(slot);
    button?.focus();
    return true;
  }

  document.body.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    if (target === dialog) {
      if (!dialog.open) dialog.showModal();
      guard(dialog);
      (dialog.querySelector("[aria-invalid=true], [autofocus]") ?? dialog.querySelector(".button"))?.focus();
    } else if (target.classList.contains("slot")) {
      guard(target);
      target.querySelector("[autofocus]")?.focus();
      target.scrollIntoView({ block: "nearest" });
    }
    for (const box of toasts.querySelectorAll("[data-toast]:not([data-fading])")) {
      box.dataset.fading = "";
      fade(box, Number(box.dataset.seconds));
    }
  });

  document.body.addEventListener("sluice:changed", () => {
    if (dialog.open) dialog.close();
    for (const slot of document.querySelectorAll(".slot")) empty(slot);
    for (const box of toasts.querySelectorAll("[data-toast]:not(:last-child), .failed")) drop(box);
    // T50: what depends on the change is read again, at once and when the health has followed.
    Sluice.refresh();
    setTimeout(Sluice.refresh, 1200);
  });

  // T49: a switch shows only what the server said, so the truth comes back by reading the page again.
  function failed(event, why, refused = false) {
    const wrote = event.detail.requestConfig?.verb !== "get" && !refused;
    note(why + (wrote ? " It is not known whether the change was made: the page shows what the gateway says." : ""));
    Sluice.refresh();
  }
  document.body.addEventListener("htmx:sendError", (event) => failed(event, "The gateway could not be reached."));
  document.body.addEventListener("htmx:timeout", (event) => failed(event, "The gateway did not answer in time."));
  document.body.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (status === 401) return;
    if (status === 403) failed(event, "Nothing was changed: you may not do this, or somebody has logged in or out in another window. Reload the page.", true);
    else failed(event, `The gateway answered ${status}.`, status < 500);
  });

  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("[data-cancel], [data-dismiss], [data-keys], [data-copy], [data-copy-link]");
    if (!target) return;
    if ("cancel" in target.dataset) { if (cancel(target)) event.preventDefault(); }
    else if ("dismiss" in target.dataset) drop(target.closest(".toast"));
    else if ("keys" in target.dataset) document.getElementById("keys").showModal();
    else if ("copyLink" in target.dataset) copy(location.origin + location.pathname, target);
    else copy((target.dataset.copy ? document.querySelector(target.dataset.copy) : target.parentElement.querySelector("pre")).textContent, target);
  });
  // Search fields ask while they are typed in; leaving one must not ask again under the operator's hands.
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[type=search]")) event.stopPropagation();
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const slot = event.target.closest?.(".slot");
    if (slot) { cancel(slot.firstElementChild); event.preventDefault(); }
    document.querySelector(".menu[open]")?.removeAttribute("open");
  });
  dialog.addEventListener("close", () => empty(dialog));
})();
