// Keeps a page at the truth: reads it again when the server says that something changed, and lays the new
// pieces over the old ones without moving what the operator is at.
"use strict";
(() => {
  const live = document.getElementById("live");
  const indicator = document.getElementById("indicator");
  const dialog = document.getElementById("dialog");
  const STALE_AFTER_MS = 8000;
  const served = new Map(); // what the server said of each piece last
  const folds = new Map(); // rows that the operator opened or closed
  let newest = 0;
  let pending = false;
  let lastTick = 0;
  let trueAt = Date.now(); // when the page last showed what the server had
  let version = null;
  let source = null;
  let failed = false;

  const nameOf = (piece) => piece.dataset.key ? `row ${piece.dataset.key}` : `piece ${piece.dataset.piece}`;
  const textOf = (piece) => piece.outerHTML.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
  const pieces = (root) => [...root.querySelectorAll("[data-key], [data-piece]")];
  const stateOf = (row) => row.querySelector(".state .mark span")?.textContent ?? "";

  function remember(root) {
    for (const piece of pieces(root)) served.set(nameOf(piece), textOf(piece));
  }

  // ---- ages and countdowns

  function words(seconds) {
    const whole = Math.max(Math.floor(seconds), 0);
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"]]) {
      if (whole >= size) return `${Math.floor(whole / size)}${unit}`;
    }
    return `${whole}s`;
  }

  function tickTimes() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-ago], time[data-until]")) {
      const at = Date.parse(time.dateTime);
      const text = words(("ago" in time.dataset ? now - at : at - now) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // ---- folding

  function fold(row, open) {
    row.classList.toggle("open", open);
    row.querySelector(".fold")?.setAttribute("aria-expanded", String(open));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".fold");
    if (!button) return;
    const row = button.closest("[data-row]");
    const open = !row.classList.contains("open");
    folds.set(row.dataset.key, open);
    fold(row, open);
  });

  // ---- laying the new over the old

  const inUse = (piece) =>
    piece.querySelector(".slot form, .htmx-request, details[open]:not([data-keep])") !== null ||
    (piece.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));

  function atWork() {
    return dialog.open || live.matches(":has([data-list]:hover)") ||
      (document.activeElement !== document.body && live.querySelector("[data-list]")?.contains(document.activeElement));
  }

  function replace(old, fresh, calm) {
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    const again = active === old ? ":scope" : active?.getAttribute("aria-label")
      ? `[aria-label="${CSS.escape(active.getAttribute("aria-label"))}"]`
      : active?.matches("a[data-open]") ? "a[data-open]" : active?.matches(".fold") ? ".fold" : null;
    const wasOpen = old.classList.contains("open");
    const wasCurrent = old.classList.contains("current");
    const before = old.querySelector("h2") ? stateOf(old) : "";
    for (const kept of old.querySelectorAll("details[data-keep][open]")) {
      const again = fresh.querySelector(`#${CSS.escape(kept.id)}`);
      if (again) again.open = true;
    }
    old.replaceWith(fresh);
    if (fresh.querySelector(".fold")) {
      if (calm) fold(fresh, folds.get(fresh.dataset.key) ?? fresh.classList.contains("open"));
      else fold(fresh, wasOpen || fresh.classList.contains("open"));
    }
    if (wasCurrent) fresh.classList.add("current");
    htmx.process(fresh);
    if (again === ":scope") fresh.focus({ preventScroll: true });
    else if (again) fresh.querySelector(again)?.focus({ preventScroll: true });
    const after = stateOf(fresh);
    if (before && after && before !== after) Sluice.say(`${fresh.querySelector("h2")?.textContent.trim()}: ${after}`);
  }

  function lay(fresh) {
    const calm = !atWork();
    const standing = new Map(pieces(live).reverse().map((one) => [nameOf(one), one]));
    for (const piece of pieces(fresh)) {
      if (piece.parentElement?.closest("[data-key]")) continue;
      const name = nameOf(piece);
      const old = standing.get(name);
      if (!old || served.get(name) === textOf(piece)) continue;
      if (inUse(old)) { pending = true; continue; }
      served.set(name, textOf(piece));
      replace(old, piece.cloneNode(true), calm);
    }
    for (const list of fresh.querySelectorAll("[data-list]")) layList(list, calm);
    tickTimes();
  }

  function layList(list, calm) {
    const shown = live.querySelector("[data-list]");
    if (!shown) return;
    const wanted = [...list.children].map((row) => row.dataset.key);
    const rows = new Map([...shown.children].map((row) => [row.dataset.key, row]));
    for (const [key, row] of rows) {
      if (wanted.includes(key) || inUse(row)) continue;
      row.remove();
      rows.delete(key);
    }
    for (const fresh of [...list.children]) {
      if (rows.has(fresh.dataset.key)) continue;
      if (!calm) { pending = true; continue; }
      served.set(nameOf(fresh), textOf(fresh));
      const row = fresh.cloneNode(true);
      shown.append(row);
      rows.set(row.dataset.key, row);
      htmx.process(row);
    }
    const order = [...shown.children].map((row) => row.dataset.key).join("\n");
    if (order === wanted.filter((key) => rows.has(key)).join("\n")) return;
    // Rows never change places under the pointer or while a dialog has the focus.
    if (!calm) { pending = true; return; }
    for (const key of wanted) if (rows.has(key)) shown.append(rows.get(key));
  }

  async function refresh() {
    if (!live || document.hidden) return false;
    const mine = ++newest;
    pending = false;
    try {
      const answer = await fetch(location.href, { headers: { "HX-Request": "true" }, cache: "no-store", signal: AbortSignal.timeout(15000) });
      if (answer.status === 401) { location.reload(); return false; }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      if (mine !== newest) return true;
      failed = false;
      trueAt = Date.now();
      lay(new DOMParser().parseFromString(`<div>${text}</div>`, "text/html").body.firstElementChild);
      return true;
    } catch {
      failed = true;
      return false;
    } finally {
      show();
    }
  }

  // ---- the stream

  function open() {
    if (!document.body.dataset.stream || source || document.hidden) return;
    source = new EventSource(document.body.dataset.stream);
    source.addEventListener("tick", (event) => {
      lastTick = Date.now();
      if (event.data === version && !failed) trueAt = lastTick;
      if (event.data !== version || failed) {
        const first = version === null;
        version = event.data;
        if (!first || failed) refresh();
      }
      show();
    });
    source.addEventListener("error", () => {
      // A stream that the server refused does not come back by itself.
      if (source?.readyState === EventSource.CLOSED) { source = null; setTimeout(open, 5000); }
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  function show() {
    if (!indicator) return;
    const age = Date.now() - lastTick;
    const state = document.hidden ? "paused" : lastTick && age < STALE_AFTER_MS && !failed ? "live" : lastTick || failed ? "stale" : "paused";
    const text = state === "live" ? `live ${words(age / 1000)}` : state === "stale" ? `stale ${words((Date.now() - trueAt) / 1000)}, reconnecting` : "connecting";
    if (indicator.dataset.state !== state) indicator.dataset.state = state;
    const shown = indicator.querySelector(".text");
    if (shown.textContent !== text) shown.textContent = document.hidden ? "paused" : text;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); show(); return; }
    open();
    refresh();
  });
  live?.addEventListener("pointerleave", () => { if (pending) refresh(); });
  dialog.addEventListener("close", () => { if (pending) refresh(); });
  document.body.addEventListener("htmx:afterSwap", (event) => { if (event.detail.target === live) { served.clear(); remember(live); } });

  window.Sluice = {
    refresh,
    fold,
    say(text) { document.getElementById("said").textContent = text; },
  };

  if (indicator && !live) indicator.hidden = true;
  if (live) {
    remember(live);
    lastTick = Date.now();
    open();
  }
  tickTimes();
  show();
  setInterval(() => { tickTimes(); show(); }, 1000);
})();
