// Try it: sends what was typed, lays the answer down as it comes, and what became of it beside it.
"use strict";
(() => {
  const form = document.getElementById("sending");
  const question = document.getElementById("question");
  const answer = document.getElementById("answer");
  const progress = document.getElementById("progress");
  const send = document.getElementById("send");
  const stop = document.getElementById("stop");
  const ASKED = ["model", "session_id", "user_path", "api_key_id", "assume"];
  let underWay = null; // the controller of the request that runs
  let served = ""; // who answers it
  let broke = false; // whether it ended with an error

  // The page's own fields are newer than the hidden ones that the server wrote for browsers without scripts.
  function typed() {
    const body = new FormData(form);
    for (const name of ASKED) body.delete(name);
    for (const [name, value] of new FormData(question)) body.append(name, value);
    return new URLSearchParams(body);
  }

  // Text goes on in the element that it began in: screen readers and searches see words, not pieces.
  function say({ kind, text }) {
    const last = answer.lastElementChild;
    const follows = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 40;
    if (last?.classList.contains(kind)) {
      last.firstChild.appendData(text);
    } else {
      const piece = document.createElement("span");
      piece.className = `said ${kind}`;
      piece.append(text);
      answer.append(piece);
    }
    answer.hidden = false;
    if (follows) answer.scrollTop = answer.scrollHeight;
  }

  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += value;
      const blocks = held.split("\n\n");
      held = blocks.pop();
      for (const block of blocks) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(block) ?? [];
        if (name) yield [name, JSON.parse(data)];
      }
    }
  }

  async function refused(got) {
    if (got.status === 401) location.assign(location.href);
    if (got.status === 403) return "Your account may not send requests, or your session is over: reload the page.";
    return got.headers.get("Content-Type")?.startsWith("text/plain") ? got.text() : `The gateway answered ${got.status}.`;
  }

  async function run(signal) {
    const headers = { Accept: "text/event-stream", "HX-Request": "true" };
    const got = await fetch(form.action, { method: "POST", body: typed(), headers, signal });
    if (!got.ok || !got.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      throw new Error(await refused(got));
    }
    let ended = false;
    for await (const [name, data] of events(got.body)) {
      if (name === "head" && data.served) served = data.served;
      else if (name === "said") { say(data); broke ||= data.kind === "error"; }
      else if (name === "end") {
        ended = true;
        document.getElementById("sent").innerHTML = data.html;
      }
    }
    if (!ended) throw new Error("The connection to the gateway broke off before the answer's end.");
  }

  // The seconds are for the eye alone; what is spoken is how it ended.
  function tellEnd(text) {
    progress.textContent = text;
    Sluice.say(text);
  }

  function busy(on) {
    send.disabled = on;
    stop.hidden = !on;
    answer.setAttribute("aria-busy", String(on));
  }

  async function start() {
    if (!question.elements.model.value.trim()) {
      tellEnd("Name a model first.");
      question.elements.model.focus();
      return;
    }
    const mine = underWay = new AbortController();
    const began = performance.now();
    const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
    const tell = () => { progress.textContent = `${served ? `${served} is answering` : "Waiting for the first content"} … ${seconds()}`; };
    served = "";
    broke = false;
    answer.replaceChildren();
    document.getElementById("sent").replaceChildren();
    form.querySelector(".alert")?.remove();
    busy(true);
    tell();
    const timer = setInterval(tell, 100);
    let outcome;
    try {
      await run(mine.signal);
      outcome = served && broke ? `${served} broke off, ${seconds()}.` : served ? `${served} answered, ${seconds()}.` : `No answer, ${seconds()}.`;
    } catch (error) {
      outcome = mine.signal.aborted
        ? "Stopped: the gateway hangs up on the provider, and the record says “client gone”."
        : error instanceof TypeError ? "The gateway could not be reached." : error.message;
    } finally {
      clearInterval(timer);
      underWay = null;
      busy(false);
    }
    tellEnd(outcome);
  }

  // A pool with all others pretended down: one press instead of many selects.
  document.getElementById("live").addEventListener("click", (event) => {
    const only = event.target.closest?.("[data-only]")?.closest("li");
    if (!only) return;
    for (const select of document.querySelectorAll("#live select[name=assume]")) {
      select.selectedIndex = only.contains(select) ? 0 : 1;
    }
    only.querySelector("select").dispatchEvent(new Event("change", { bubbles: true }));
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!underWay) start();
  });
  stop.addEventListener("click", () => underWay?.abort());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !send.disabled) { event.preventDefault(); form.requestSubmit(); }
  });
  window.addEventListener("pagehide", () => underWay?.abort());
})();
