// cpu: machine code at the level of its instructions: one guest, or two side by side.

import { button, eachRow, el, labelled, setAttrs, setText, showCount } from "./dom.js";
import { cpuCode, cpuParts, cpuPlace, cpuRegisters } from "./cpuparts.js";

export function cpuView(host) {
  const hint = el("p", { class: "ml-hint" });
  const sides = el("div", { class: "ml-cpu-sides" });
  const made = [0, 1].map((side) => cpuSide(host, side));
  sides.append(...made.map((side) => side.root));
  const root = el("div", { class: "ml-cpu" }, hint, sides);
  return {
    root,
    update(data) {
      const none = data.domains.length ? "" : "No domain yet: lab.create(guest_image(path)) makes one of machine code.";
      setText(hint, [data.missing, none].filter(Boolean).join(" "));
      hint.hidden = !hint.textContent;
      sides.hidden = !data.sides.length;
      setAttrs(sides, { "data-one": data.sides.length < 2 ? "yes" : null });
      made.forEach((side, at) => side.update(data, data.sides[at]));
    },
  };
}

/** One guest: which, its CPU, and a part below. */
function cpuSide(host, side) {
  let name = "";
  const chosen = el("select", { on: { change: (event) => host.look({ [`cpu.${side}.domain`]: event.target.value }) } });
  const state = el("span", { class: "ml-cpu-where" });
  const registers = cpuRegisters();
  const drive = cpuDrive(host, () => name);
  const code = cpuCode((what, address) => drive.key(what, address));
  const keys = el("p", { class: "ml-hint" }, "In the code: Enter sets a breakpoint, s steps, b goes back, r runs to the line.");
  const latest = el("p", { class: "ml-hint" });
  const tasks = el("ul", { class: "ml-cpu-tasks" });
  const plain = el("div", { class: "ml-cpu-plain" }, el("p", { class: "ml-hint" }, "A Python unikernel has no registers; it waits in these tasks:"), tasks);
  const top = el("div", { class: "ml-cpu-top" }, registers.root, code.root);
  const why = el("p", { class: "ml-cpu-why" });
  const machine = el("div", { class: "ml-cpu-machine" }, why, top, latest, keys);
  const parts = cpuParts(host, side, (part) => host.look({ [`cpu.${side}.part`]: part }));
  const body = el("div", {}, drive.root, plain, machine, parts.root);
  const root = el(
    "section",
    { class: "ml-cpu-side" },
    el("div", { class: "ml-bar" }, labelled(side ? "beside it" : "domain", chosen), state),
    body,
  );

  return {
    root,
    update(data, told) {
      const others = side ? [{ name: "", kind: "" }, ...data.domains.filter((row) => row.name !== data.sides[0]?.name)] : data.domains;
      root.hidden = Boolean(side) && others.length < 2;
      eachRow(
        chosen,
        others,
        (row) => row.name,
        (row) => el("option", { value: row.name }),
        (node, row) => setText(node, row.name ? `${row.name} (${row.kind})` : "nothing"),
      );
      if (document.activeElement !== chosen || !told) chosen.value = told?.name ?? "";
      body.hidden = !told;
      if (!told) {
        setText(state, "");
        return;
      }
      name = told.name;
      root.setAttribute("aria-label", `guest ${name}`);
      const cpu = told.cpu;
      drive.update(told);
      setText(state, `domid ${told.domid} · ${told.state}${cpu ? ` · ${cpu.mode} · ${cpuCount(cpu.exits, "exit")} · ${cpuCount(cpu.instructions, "instruction")}` : ""}`);
      machine.hidden = !cpu;
      plain.hidden = Boolean(cpu);
      if (cpu) {
        setText(why, told.why.map((line) => line.trim()).join(" · "));
        why.hidden = !told.why.length;
        setAttrs(top, { "data-many": cpu.registers.length > 20 ? "yes" : null });
        registers.update(cpu, name);
        code.update(cpu, new Set(told.stops.map(([, address]) => address)));
        const last = cpu.latest ? `last: ${cpu.latest}` : cpu.cut ? "" : "it has not run yet";
        setText(latest, [cpu.where ? `in ${cpu.where}` : "", cpu.cut ? `${cpuCount(cpu.cut, "instruction")} into its next event` : "", last].filter(Boolean).join(" · "));
      } else {
        eachRow(
          tasks,
          told.tasks.map((task, at) => ({ task, at })),
          (row) => row.at,
          () => el("li", { class: "ml-mono" }),
          (node, row) => setText(node, row.task),
        );
      }
      parts.update(told);
    },
  };
}

function cpuCount(number, word) {
  return `${showCount(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** Step, go back, run to a place. */
function cpuDrive(host, whose) {
  const unit = el("select", {});
  unit.append(...["instruction", "block", "hypercall", "event"].map((value) => el("option", { value }, value)));
  const where = cpuPlace(host, whose);
  const act = (action, more) => host.act(action, { domain: whose(), ...more });
  const step = () => act("cpu.step", { unit: unit.value });
  const back = () => act("cpu.back", { unit: unit.value });
  const to = el(
    "form",
    {
      class: "ml-cpu-to",
      on: {
        submit: (event) => {
          event.preventDefault();
          if (where.input.value.trim()) act("cpu.run_to", { where: where.input.value });
        },
      },
    },
    where.root,
    el("button", { type: "submit", class: "ml-button" }, "run to"),
  );
  const by = labelled("by", unit);
  const runBack = button("back to a breakpoint", () => act("cpu.run_back"), { title: "where it last was at a breakpoint, or else its beginning" });
  const unpause = button("unpause", () => act("domain.unpause"), { class: "ml-button ml-cpu-unpause" });
  const root = el(
    "div",
    { class: "ml-bar ml-cpu-drive", role: "group", "aria-label": "step and run" },
    button("◀ step back", back, { title: "the world as it was a step of this guest ago" }),
    button("step ▶", step),
    by,
    to,
    runBack,
    unpause,
  );
  return {
    root,
    key(what, address) {
      if (what === "toggle") act("cpu.break", { where: `0x${address}` });
      else if (what === "s") step();
      else if (what === "b") back();
      else if (what === "r") act("cpu.run_to", { where: `0x${address}` });
      else return false;
      return true;
    },
    update(told) {
      by.hidden = to.hidden = runBack.hidden = !told.cpu;
      unpause.hidden = told.state !== "paused";
    },
  };
}
