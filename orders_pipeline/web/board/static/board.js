// The order board beside htmx: keyboard, the open panel, times that run, what is refreshed, and a lost connection.
"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const panel = () => $("#panel");
  const opened = () => $("#panel [data-panel]")?.dataset.panel ?? "";
  let tag = "";
  let refreshedAt = Date.now();
  let failures = 0;
  let returnTo = null;

  // --- times: as rendering.py says them

  function span(seconds) {
    const days = Math.floor(seconds / 86400);
    const hours = Math.floor((seconds % 86400) / 3600);
    const minutes = Math.floor((seconds % 3600) / 60);
    if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
    if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
    return `${minutes} min`;
  }

  // The clock of the server, by which an order is late: this machine's may differ.
  const ahead = Date.parse($("#board")?.dataset.now) - Date.now() || 0;

  function tell(time, now) {
    const seconds = Math.trunc((Date.parse(time.dateTime) - now) / 1000);
    const isLeft = time.classList.contains("left");
    const words = !isLeft ? `${span(Math.max(-seconds, 0))} old` : seconds >= 0 ? `${span(seconds)} left` : `-${span(-seconds)}`;
    if (time.textContent !== words) time.textContent = words;
  }

  // Only what is in sight: among ten thousand cards that is a few dozen.
  function tellTimes() {
    const now = Date.now() + ahead;
    for (const section of [...sectionsInSight(), panel()]) {
      for (const time of all("time.left, time.age", section)) tell(time, now);
    }
  }

  // --- refreshing: one request for all that is in sight

  function sectionsInSight() {
    const found = [];
    for (const list of all(".list")) {
      const view = list.getBoundingClientRect();
      if (view.right < 0 || view.left > innerWidth) continue;
      for (const section of all(".section", list)) {
        const place = section.getBoundingClientRect();
        if (place.bottom >= view.top && place.top <= view.bottom) found.push(section);
        else if (place.top > view.bottom) break;
      }
    }
    return found;
  }

  function filterQuery() {
    return $("#board")?.dataset.query ?? "";
  }

  // What a refresh was asked for. Another filter or another order since then: its answer is of no use, nor is its tag.
  const shownNow = () => `${filterQuery()} ${opened()}`;
  const isOutdated = (ctx) => ctx.askedFor !== undefined && ctx.askedFor !== shownNow();

  document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    const { sourceElement: source, request } = ctx;
    if (source.id === "refresh") {
      ctx.askedFor = shownNow();
      for (const [name, value] of new URLSearchParams(filterQuery())) request.body.append(name, value);
      for (const { dataset } of sectionsInSight()) {
        request.body.append("section", `${dataset.column}~${dataset.after}~${dataset.until}`);
      }
      if (opened()) request.body.append("open", opened());
      if (tag) request.headers["If-None-Match"] = tag;
      request.timeout = 15000;
    }
    if (source.id === "filters") {
      for (const [name, value] of [...request.body.entries()]) if (!value.trim()) request.body.delete(name);
    }
  });

  document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
    if (ctx.response.status === 401) return lost("You are logged out. Load the page again to log in.");
    if (ctx.sourceElement.id !== "refresh" || (ctx.response.status >= 400 && ctx.response.status !== 304)) return;
    if (!isOutdated(ctx)) tag = ctx.response.headers.get("ETag") ?? "";
    found();
  });
  document.addEventListener("htmx:before:swap", (event) => {
    if (isOutdated(event.detail.ctx)) event.preventDefault();
  });
  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
    const { status, headers } = ctx.response;
    if (status >= 500) lost("What you see may be old: the store cannot be read. Trying again…");
    else if (headers.get("Content-Type")?.startsWith("text/plain")) say(ctx.text);
  });
  document.addEventListener("htmx:error", () => lost("What you see may be old. Trying again…"));

  function lost(sentence) {
    failures += 1;
    $("#lost span").textContent = sentence;
    $("#lost").hidden = false;
    document.body.classList.add("is-old");
    freshness();
  }

  function say(sentence) {
    const said = document.createElement("p");
    said.className = "bad";
    said.textContent = sentence.slice(0, 300);
    $("#message").replaceChildren(said);
  }

  function found() {
    failures = 0;
    refreshedAt = Date.now();
    $("#lost").hidden = true;
    document.body.classList.remove("is-old");
    freshness();
  }

  function freshness() {
    const seconds = Math.round((Date.now() - refreshedAt) / 1000);
    const words = failures || seconds > 30 ? `As of ${new Date(refreshedAt).toLocaleTimeString()}` : "Up to date";
    if ($("#freshness") && $("#freshness").textContent !== words) $("#freshness").textContent = words;
  }

  const refresh = () => htmx.trigger("#refresh", "refresh");

  // A section that comes into sight may have changed while it was out of it.
  let scrolled;
  document.addEventListener("scroll", () => {
    clearTimeout(scrolled);
    scrolled = setTimeout(() => { tellTimes(); refresh(); }, 400);
  }, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => document.hidden || refresh());

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.sourceElement.id === "filters" || ctx.target?.id === "board") {
      tag = "";
      const query = filterQuery();
      history.pushState(null, "", addressOf(query, opened()));
    }
    if (ctx.target?.matches?.("[data-forget]")) {
      clearTimeout(forgetting);
      forgetting = setTimeout(forget, 300000);
    }
    // The column of unknown states is there while it has orders.
    for (const column of all(".column")) column.hidden = !$(`#tabs a[href="#${column.id}"]`);
    tellTimes();
  });

  // What is said of something done goes by itself.
  let saying;
  document.addEventListener("htmx:after:settle", ({ target }) => {
    if (target.id !== "message") return;
    clearTimeout(saying);
    saying = setTimeout(() => target.replaceChildren(), 8000);
  });

  // --- the panel

  function addressOf(query, order) {
    const parts = new URLSearchParams(query);
    if (order) parts.set("open", order);
    const text = parts.toString();
    return text ? `/board?${text}` : "/board";
  }

  const pathOf = (order) => `/board/orders/${order.split(":").map(encodeURIComponent).join("/")}`;

  async function open(order, link, isNew = true) {
    returnTo = link?.id || returnTo;
    await htmx.ajax("GET", pathOf(order), { target: "#panel", swap: "innerHTML", source: "#panel" });
    if (opened() !== order) return;
    if (isNew) history.pushState(null, "", addressOf(filterQuery(), order));
    panel().focus({ preventScroll: true });
    document.body.classList.add("has-panel");
    tellTimes();
  }

  // What was shown in it goes with it, an address too.
  function close(isNew = true) {
    if (!panel().hasChildNodes()) return;
    panel().replaceChildren();
    document.body.classList.remove("has-panel");
    if (isNew) history.pushState(null, "", addressOf(filterQuery(), ""));
    const link = returnTo && document.getElementById(returnTo);
    if (link) link.focus({ preventScroll: true });
  }

  addEventListener("popstate", () => {
    const parts = new URLSearchParams(location.search);
    const order = parts.get("open") ?? "";
    parts.delete("open");
    if (parts.toString() !== filterQuery()) return location.reload();
    if (order) open(order, null, false);
    else close(false);
  });
  // An address that somebody leaves open is for whoever passes by.
  const forget = () => all("[data-forget]").forEach((shown) => shown.replaceChildren());
  let forgetting;
  addEventListener("pagehide", forget);

  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const tab = event.target.closest("a.tab");
    if (tab) {
      event.preventDefault();
      const column = $(tab.getAttribute("href"));
      column.scrollIntoView({ block: "nearest", inline: "start" });
      ($("a.open", column) ?? $(".list", column)).focus({ preventScroll: true });
      return;
    }
    if (event.target.closest("#panel .close")) return close();
    if (event.target.closest("[data-hide]")) return forget();
    const action = event.target.closest("button[data-claim]");
    if (action) return claim(action);
    const card = event.target.closest(".card");
    if (card && !event.target.closest("button")) {
      event.preventDefault();
      open(card.dataset.order, $("a.open", card));
    }
  });

  function claim(button) {
    const order = button.closest("[data-order], [data-panel]");
    const name = order.dataset.order ?? order.dataset.panel;
    const { claim: act, owner } = button.dataset;
    // Whose claim is taken over: another's by now stays.
    const values = owner ? { owner } : {};
    htmx.ajax("POST", `${pathOf(name)}/${act}`, { target: "#message", source: "#message", swap: "none", values })
      .then(refresh);
  }

  // Of the focused card, or of the open order. Another's claim is never taken over by a key.
  function claimByKey() {
    const place = document.activeElement.closest?.(".card") ?? panel();
    $('[data-claim="claim"], [data-claim="unclaim"]', place)?.click();
  }

  // What somebody has begun to fill in is not replaced by a refresh.
  document.addEventListener("input", ({ target }) => {
    const actions = target.closest("#panel-actions");
    if (actions) actions.dataset.inUse = "";
  });

  // --- keyboard: the focused card is the selected one

  // Where the focus was last: an order that is opened, or that a refresh takes out of its column, does not lose it.
  let place = null;
  document.addEventListener("focusin", ({ target }) => {
    const column = target.closest(".column");
    const link = target.closest(".card")?.querySelector("a.open");
    if (link) place = { column: column.id, id: link.id, at: all("a.open", column).indexOf(link) };
    else if (column) place = { column: column.id, id: null, at: -1 };
  });

  function step(by) {
    const column = (place && document.getElementById(place.column)) ?? $(".column");
    const links = all("a.open", column);
    const known = place ? links.findIndex((link) => link.id === place.id) : -1;
    // The one that is gone: the next has taken its place.
    const at = known < 0 && place?.at >= 0 ? place.at - (by > 0 ? 1 : 0) : known;
    const next = links[at < 0 && known < 0 && !(place?.at >= 0) ? 0 : Math.max(at + by, 0)];
    if (next) {
      next.focus({ preventScroll: true });
      next.closest(".card").scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if (at < 0) {
      stepColumn(1);
    }
  }

  function stepColumn(by) {
    const columns = all(".column").filter((column) => $("a.open", column));
    const at = columns.findIndex((column) => column.id === place?.column);
    const next = columns[at + by] ?? (at < 0 ? columns[0] : null);
    if (!next) return;
    next.scrollIntoView({ block: "nearest", inline: "start" });
    $("a.open", next).focus({ preventScroll: false });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isTyping = event.target.matches?.("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape") {
      if (isTyping && event.target.id === "q") return event.target.blur();
      return close();
    }
    if (isTyping) return;
    const keys = {
      "/": () => $("#q").select(),
      j: () => step(1),
      k: () => step(-1),
      l: () => stepColumn(1),
      h: () => stepColumn(-1),
      c: claimByKey,
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  setInterval(() => { tellTimes(); freshness(); }, 15000);
  document.addEventListener("DOMContentLoaded", () => {
    if (opened()) document.body.classList.add("has-panel");
    history.replaceState(null, "", location.href);
  });
})();
