// boot: a domain comes up.  Buttons that step and run, a timeline, and one of four parts below it.

import { button, eachRow, el, labelled, setAttrs, setText } from "./dom.js";
import { bootBytes, bootChannels, bootMemory } from "./bootparts.js";
import { bootDetail, bootTimeline } from "./boottime.js";

const BOOT_PARTS = [
  ["memory", "Memory"],
  ["channels", "Event channels"],
  ["start_info", "start_info"],
  ["shared_info", "shared_info"],
];

export function bootView(host) {
  let seen = null;
  const chosen = el("select", { on: { change: (event) => host.look({ "boot.domain": event.target.value, "boot.from": null, "boot.to": null, "boot.event": null, "boot.run": null }) } });
  const state = el("span", { class: "ml-boot-state" });
  const drive = bootDrive(host, () => seen);
  const timeline = bootTimeline(host);
  const detail = bootDetail(host);
  const parts = el("div", { class: "ml-bar ml-boot-parts", role: "group", "aria-label": "what is shown below the timeline" });
  const panels = { memory: bootMemory(host), channels: bootChannels(host), bytes: bootBytes(host) };
  const hint = el("p", { class: "ml-hint" }, "No domain yet: lab.create(image) makes one.");
  const body = el("div", {}, timeline.root, detail.root, parts, panels.memory.root, panels.channels.root, panels.bytes.root);
  const root = el("div", { class: "ml-boot" }, el("div", { class: "ml-bar" }, labelled("domain", chosen), state), drive.root, hint, body);

  return {
    root,
    update(data) {
      seen = data;
      eachRow(chosen, data.domains, (row) => row.name, (row) => el("option", { value: row.name }, row.name));
      if (data.domain && document.activeElement !== chosen) chosen.value = data.domain;
      const mine = data.domains.find((row) => row.name === data.domain);
      setText(state, mine ? `domid ${mine.domid} · ${mine.state}` : "");
      hint.hidden = Boolean(data.domain);
      body.hidden = drive.root.hidden = !data.domain;
      if (!data.domain) return;
      drive.update(data);
      timeline.update(data);
      detail.update(data);
      eachRow(
        parts,
        BOOT_PARTS,
        ([name]) => name,
        ([name, words]) => button(words, () => host.look({ "boot.part": name }), { "data-part": name }),
        (node, [name]) => setAttrs(node, { "aria-pressed": name === data.part ? "true" : "false" }),
      );
      for (const [name, panel] of Object.entries(panels)) {
        panel.root.hidden = !data[name];
        if (data[name]) panel.update(data[name]);
      }
    },
  };
}

/** Step, run until, run to. */
function bootDrive(host, data) {
  const until = el("select", { "aria-label": "kind of event to run until" });
  const whose = el("select", { "aria-label": "whose event" });
  const time = el("input", { type: "number", min: "0", step: "any", value: "", class: "ml-boot-time", placeholder: "us" });
  const runUntil = () => {
    const name = data()?.domain;
    host.act("boot.until", { kind: until.value, ...(whose.value === "its" && name ? { source: name } : {}) });
  };
  const runTo = () => {
    const t = Number(time.value) * 1000;
    if (time.value !== "" && Number.isFinite(t) && t >= 0) host.act("boot.run_to", { t: Math.round(t) });
  };
  const enter = (act) => (event) => {
    if (event.key === "Enter") act();
  };
  time.addEventListener("keydown", enter(runTo));
  whose.append(el("option", { value: "its" }, "this domain"), el("option", { value: "any" }, "anyone"));
  const quiet = el("div", { class: "ml-bar" });
  const root = el(
    "div",
    { class: "ml-boot-drive" },
    el(
      "div",
      { class: "ml-bar", role: "group", "aria-label": "step and run" },
      button("step event", () => host.act("boot.step", {}), { title: "handle one event of the world" }),
      button("step hypercall", () => host.act("boot.until", { kind: "xen.hypercall", source: data()?.domain ?? "" }), { title: "run until this domain calls the hypervisor again; one step of a vCPU may make several calls" }),
      labelled("until", until),
      labelled("of", whose),
      button("run until", runUntil),
      labelled("to t (us)", time),
      button("run to", runTo, { title: "run to this time, or go back to it" }),
      button("unpause", () => host.act("domain.unpause", { domain: data()?.domain }), { class: "ml-button ml-boot-unpause" }),
    ),
    el("details", { class: "ml-boot-quiet" }, el("summary", {}, "Kinds of event that are off at first"), quiet),
  );
  return {
    root,
    update(snapshot) {
      eachRow(until, snapshot.until, (kind) => kind, (kind) => el("option", { value: kind }, kind));
      eachRow(
        quiet,
        snapshot.quiet,
        (row) => row.kind,
        (row) => labelled(row.kind, el("input", { type: "checkbox", on: { change: (event) => host.act("boot.record", { kind: row.kind, on: event.target.checked }) } })),
        (node, row) => {
          const box = node.querySelector("input");
          if (document.activeElement !== box) box.checked = row.on;
        },
      );
      const mine = snapshot.domains.find((row) => row.name === snapshot.domain);
      root.querySelector(".ml-boot-unpause").hidden = mine?.state !== "paused";
    },
  };
}
