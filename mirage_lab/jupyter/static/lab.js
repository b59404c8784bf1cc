// lab: the shell of the widget: clock and buttons, tabs, the console drawer, and the line of Python each button ran.
// The kernel sends whole snapshots; at most one is drawn per frame of the screen.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showCount, showTime } from "./dom.js";
import { bootView } from "./boot.js";
import { consoleDrawer } from "./console.js";
import { cpuView } from "./cpu.js";
import { dashboardView } from "./dashboard.js";
import { graphView } from "./graph.js";
import { historyView } from "./history.js";
import { packetsView } from "./packets.js";
import { stackView } from "./stack.js";
import { xenstoreView } from "./xenstore.js";

const LAB_TABS = { dashboard: dashboardView, graph: graphView, boot: bootView, cpu: cpuView, stack: stackView, packets: packetsView, xenstore: xenstoreView, history: historyView };
const LAB_ANNOUNCE_MS = 1000;
const LAB_ANSWER_MS = 30000;

let labInstances = 0;

export function render({ model, el: place }) {
  labInstances += 1;
  const host = labHost(model, `ml${labInstances}-${Math.random().toString(36).slice(2, 8)}`);
  const shell = labShell(host);
  // Keys pressed here are for the widget, not for the notebook around it.
  const root = el(
    "div",
    { class: "mirage-lab", "data-lm-suppress-shortcuts": "true", role: "region", "aria-label": "mirage lab", on: { keydown: (event) => event.stopPropagation() } },
    shell.root,
  );
  place.append(root);

  let frame = 0;
  const draw = () => {
    frame = 0;
    shell.update(model.get("snapshot"));
  };
  const soon = () => {
    shell.back();
    frame ||= requestAnimationFrame(draw);
  };
  const lost = () => shell.gone("The kernel of this widget is gone. Run the cells of the notebook again; the picture below shows the world as it was last.");
  model.on("change:snapshot", soon);
  model.on("msg:custom", host.heard);
  // The front end tells only that the connection changed; a snapshot that still comes takes the word back.
  model.on("comm_live_update", lost);
  model.on("destroy", lost);
  const seen = new IntersectionObserver((entries) => {
    host.send({ kind: "visible", view: host.uid, visible: entries.at(-1).isIntersecting });
  });
  seen.observe(root);
  draw();
  return () => {
    seen.disconnect();
    cancelAnimationFrame(frame);
    model.off("change:snapshot", soon);
    model.off("msg:custom", host.heard);
    host.send({ kind: "visible", view: host.uid, visible: false });
  };
}

function labHost(model, uid) {
  const waiting = new Map();
  let asked = 0;
  let say = () => {};
  const send = (message) => {
    try {
      model.send(message);
    } catch (error) {
      say(`not sent: ${error.message}`);
    }
  };
  return {
    uid,
    send,
    id: (name) => `${uid}-${name}`,
    look: (changes) => send({ kind: "look", changes }),
    act: (name, args) => send({ kind: "act", name, args: args ?? {}, id: `${uid}-${(asked += 1)}` }),
    ask(name, args) {
      const id = `${uid}-${(asked += 1)}`;
      return new Promise((resolve, reject) => {
        const late = setTimeout(() => {
          waiting.delete(id);
          reject(new Error(`${name}: no answer from the kernel; it may be busy with a cell`));
        }, LAB_ANSWER_MS);
        waiting.set(id, { resolve, reject, late });
        send({ kind: "ask", name, args: args ?? {}, id });
      });
    },
    heard(message) {
      const asker = message?.kind === "reply" ? waiting.get(message.id) : undefined;
      if (!asker) return;
      waiting.delete(message.id);
      clearTimeout(asker.late);
      if ("error" in message) asker.reject(new Error(message.error));
      else asker.resolve(message.value);
    },
    say: (words) => say(words),
    sayWith(speaker) {
      say = speaker;
    },
  };
}

function labShell(host) {
  const live = el("p", { class: "ml-live", role: "status", "aria-live": "polite" });
  host.sayWith(labAnnouncer(live));
  const gone = el("p", { class: "ml-gone", role: "alert", hidden: true });
  const transport = labTransport(host);
  const tabs = el("div", { class: "ml-tabs", role: "tablist", "aria-label": "views of the lab" });
  const panel = el("div", { class: "ml-panel", role: "tabpanel", id: host.id("panel"), tabindex: "-1" });
  const trouble = el("p", { class: "ml-trouble", role: "alert", hidden: true });
  const drawer = consoleDrawer(host);
  const line = el("code", { class: "ml-line", tabindex: "0", "aria-label": "the line of Python that was run" });
  const said = el("span", { class: "ml-said" });
  const told = el("div", { class: "ml-told", hidden: true }, line, said);
  const body = el("div", { class: "ml-body" }, transport.root, tabs, told, trouble, panel, drawer.root);
  const root = el("div", { class: "ml-shell" }, gone, body, live);
  const views = new Map();
  let open = null;
  let lastSaid = null;
  roving(tabs, ".ml-tab", { ArrowRight: 1, ArrowLeft: -1 });

  function view(name) {
    if (!views.has(name) && LAB_TABS[name]) {
      const made = LAB_TABS[name](host);
      made.root.hidden = true;
      panel.append(made.root);
      views.set(name, made);
    }
    return views.get(name);
  }

  function fillTabs(snapshot) {
    eachRow(
      tabs,
      snapshot.tabs,
      (tab) => tab.name,
      (tab) =>
        el("button", { type: "button", class: "ml-tab", role: "tab", id: host.id(`tab-${tab.name}`), "aria-controls": host.id("panel"), on: { click: () => host.look({ tab: tab.name }) } }, tab.title),
      (node, tab) => setAttrs(node, { "aria-selected": tab.name === snapshot.tab ? "true" : "false", "data-tab": tab.name }),
    );
    tabs.hidden = snapshot.tabs.length < 2;
    if (!tabs.contains(document.activeElement)) {
      tabs.querySelectorAll(".ml-tab").forEach((tab) => tab.setAttribute("tabindex", tab.dataset.tab === snapshot.tab ? "0" : "-1"));
    }
    panel.setAttribute("aria-labelledby", host.id(`tab-${snapshot.tab}`));
  }

  return {
    root,
    gone(words) {
      setText(gone, words);
      gone.hidden = false;
      root.classList.add("ml-is-gone");
      body.inert = true;
    },
    back() {
      gone.hidden = true;
      root.classList.remove("ml-is-gone");
      body.inert = false;
    },
    update(snapshot) {
      if (!snapshot || (!snapshot.tabs && !snapshot.gone)) return;
      if (snapshot.gone) {
        this.gone(snapshot.gone);
        return;
      }
      transport.root.hidden = !snapshot.head;
      if (snapshot.head) transport.update(snapshot.head);
      fillTabs(snapshot);
      const shown = view(snapshot.tab);
      if (open !== shown) {
        if (open) open.root.hidden = true;
        if (shown) shown.root.hidden = false;
        open = shown;
      }
      const error = snapshot.data?.error ?? "";
      trouble.hidden = !error;
      setText(trouble, error);
      if (shown && !error) shown.update(snapshot.data, snapshot);
      drawer.root.hidden = !snapshot.console;
      if (snapshot.console) drawer.update(snapshot.console);
      const last = snapshot.said ?? {};
      told.hidden = !last.said;
      setText(line, last.line ?? "");
      line.hidden = !last.line;
      setText(said, last.said ?? "");
      setAttrs(told, { "data-error": last.error ? "yes" : null });
      if (last.said && last.serial !== lastSaid) {
        lastSaid = last.serial;
        host.say(last.said);
      }
    },
  };
}

/** Words for screen readers, at most once a second; the newest win. */
function labAnnouncer(live) {
  let next = null;
  let timer = 0;
  const speak = () => {
    timer = 0;
    if (next === null) return;
    setText(live, next);
    next = null;
    timer = setTimeout(speak, LAB_ANNOUNCE_MS);
  };
  return (words) => {
    next = words;
    if (!timer) speak();
  };
}

function labTransport(host) {
  const play = button("▶ play", () => host.act(playing ? "pause" : "play", {}), { class: "ml-button ml-play" });
  const step = button("step", () => host.act("step", {}), { title: "handle one event" });
  const run = button("run 1 s", () => host.act("run", { seconds: 1 }), { title: "one second of virtual time" });
  const undo = button("undo", () => host.act("undo", {}), { title: "take back the last command" });
  const reset = button("reset", () => host.act("reset", {}), { title: "put the lab back to its start" });
  const speed = el("select", { on: { change: (event) => host.act("play", { speed: Number(event.target.value) }) } });
  const t = el("span", { class: "ml-t" });
  const state = el("span", { class: "ml-word" });
  const clock = el("span", { class: "ml-clock" });
  const events = el("span", { class: "ml-events" });
  const badge = el("span", { class: "ml-badge" });
  const progress = el("progress", { max: "1", class: "ml-progress", hidden: true, "aria-label": "progress of the run" });
  let playing = false;
  const root = el(
    "div",
    { class: "ml-transport", role: "group", "aria-label": "clock" },
    play,
    step,
    run,
    labelled("speed", speed),
    undo,
    reset,
    el("span", { class: "ml-now" }, state, " ", t, " ", clock),
    events,
    badge,
    progress,
  );
  return {
    root,
    update(head) {
      playing = head.state === "playing";
      setText(play, playing ? "❚❚ pause" : "▶ play");
      eachRow(speed, head.speeds, (value) => value, (value) => el("option", { value }, `${value}x`));
      if (document.activeElement !== speed && speed.value !== String(head.speed)) speed.value = String(head.speed);
      setText(state, head.state);
      setText(t, `t = ${showTime(head.t)}`);
      setText(clock, head.clock);
      setText(events, `${showCount(head.events)} events`);
      setText(badge, head.badge);
      progress.hidden = head.progress === null;
      if (head.progress !== null) progress.value = head.progress;
    },
  };
}
