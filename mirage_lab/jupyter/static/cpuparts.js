// cpuparts: what a guest of the CPU tab is made of: registers, code, and the parts below them.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showCount, showTime } from "./dom.js";
import { bootMemory } from "./bootparts.js";

let cpuPlaces = 0;

/** Registers; those that are not as they were when this was last shown are marked. */
export function cpuRegisters() {
  const list = el("ul", { class: "ml-cpu-registers", "aria-label": "registers" });
  const system = el("ul", { class: "ml-cpu-registers ml-cpu-system", "aria-label": "registers of the system" });
  const flags = el("p", { class: "ml-cpu-flags" });
  const root = el("div", { class: "ml-cpu-state" }, list, flags, system);
  let shown = "";
  let values = new Map();
  let changed = new Set();

  function rows(place, data) {
    eachRow(
      place,
      data,
      ([name]) => name,
      ([name]) => el("li", {}, el("span", { class: "ml-cpu-name" }, name), el("span", { class: "ml-mono" }), el("span", { class: "ml-cpu-mark", title: "changed since it was last shown" }, "•", el("span", { class: "ml-unseen" }, " changed")), el("span", { class: "ml-hint" })),
      (node, [name, value, words]) => {
        const is = changed.has(name);
        setText(node.children[1], value);
        node.children[2].hidden = !is;
        setText(node.children[3], words ?? "");
        setAttrs(node, { "data-register": name, "data-changed": is ? "yes" : null });
      },
    );
  }

  return {
    root,
    update(cpu, whose) {
      const now = new Map([...cpu.registers, ...cpu.system].map(([name, value]) => [name, value]));
      const at = [whose, cpu.exits, cpu.instructions, ...now.values()].join(" ");
      if (at !== shown) {
        changed = new Set(shown.startsWith(`${whose} `) ? [...now.keys()].filter((name) => values.has(name) && values.get(name) !== now.get(name)) : []);
        values = now;
        shown = at;
      }
      rows(list, cpu.registers);
      rows(system, cpu.system);
      setText(flags, cpu.flags ? `flags: ${cpu.flags}` : "");
    },
  };
}

/** The instructions around the next one.  `act(name, address)` is told of keys and clicks: "toggle" or a key. */
export function cpuCode(act) {
  const list = el("ul", { class: "ml-cpu-code", role: "listbox", "aria-label": "instructions", "aria-multiselectable": "true" });
  const wrong = el("p", { class: "ml-hint" });
  const root = el("div", { class: "ml-cpu-listing" }, wrong, el("div", { class: "ml-across" }, list));
  let follow = false;
  let moved = "";
  roving(list, ".ml-cpu-line", { ArrowDown: 1, ArrowUp: -1 });
  list.addEventListener("keydown", (event) => {
    const row = event.target.closest(".ml-cpu-line");
    if (!row || event.ctrlKey || event.altKey || event.metaKey) return;
    const what = event.key === "Enter" || event.key === " " ? "toggle" : event.key;
    if (!act(what, row.dataset.address)) return;
    event.preventDefault();
    follow = what !== "toggle";
  });

  return {
    root,
    update(cpu, stops) {
      setText(wrong, cpu.wrong);
      wrong.hidden = !cpu.wrong;
      const held = list.contains(document.activeElement);
      eachRow(
        list,
        cpu.code,
        ([address]) => address,
        ([address]) =>
          el(
            "li",
            { class: "ml-cpu-line", role: "option", tabindex: "-1", "data-address": address, on: { click: () => String(getSelection()) || act("toggle", address) } },
            el("span", { class: "ml-cpu-label" }),
            el("span", { class: "ml-cpu-stop" }),
            el("span", { class: "ml-cpu-here" }),
            el("span", { class: "ml-cpu-at" }, address),
            el("span", { class: "ml-cpu-bytes" }),
            el("span", { class: "ml-cpu-words" }),
            el("span", { class: "ml-cpu-target" }),
          ),
        (node, [address, bytes, words, label, target]) => {
          const [name, stop, here, , hex, text, to] = node.children;
          const next = address === cpu.pc;
          setText(name, label ? `${label}:` : "");
          name.hidden = !label;
          setText(stop, stops.has(address) ? "●" : "");
          setText(here, next ? "▶" : "");
          setText(hex, bytes);
          setAttrs(hex, { title: bytes.length > 16 ? bytes : null });
          setText(text, words);
          setText(to, target ? `<${target}>` : "");
          setAttrs(node, {
            "aria-selected": stops.has(address) ? "true" : "false",
            "aria-current": next ? "true" : null,
            "aria-label": `${label ? `${label}: ` : ""}${address} ${words}${target ? ` ${target}` : ""}${next ? ", next" : ""}${stops.has(address) ? ", breakpoint" : ""}`,
          });
        },
      );
      const next = list.querySelector('[aria-current="true"]') ?? list.firstChild;
      const lost = !list.contains(document.activeElement);
      if (lost || follow) for (const row of list.children) row.setAttribute("tabindex", row === next ? "0" : "-1");
      if (held && next && (lost || (follow && moved !== cpu.pc))) next.focus({ preventScroll: true });
      if (moved !== cpu.pc) follow = false;
      moved = cpu.pc;
    },
  };
}

function cpuTable(words, heads) {
  const body = el("tbody", {});
  const table = el(
    "table",
    { class: "ml-table" },
    el("caption", {}, words),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    body,
  );
  const none = el("p", { class: "ml-hint" });
  return { body, none, root: el("div", { class: "ml-scroll", tabindex: "0", role: "region", "aria-label": words }, table, none) };
}

function cpuCells(count) {
  return () => el("tr", {}, ...Array.from({ length: count }, () => el("td", {})));
}

/** The last hypercalls, the newest first, and the upcalls among them. */
export function cpuCalls() {
  const table = cpuTable("hypercalls and upcalls, the newest first", ["t", "hypercall", "arguments", "result"]);
  return {
    root: table.root,
    update(side) {
      setText(table.none, side.calls.length ? "" : "none yet");
      eachRow(
        table.body,
        side.calls,
        (row) => row.id,
        cpuCells(4),
        (node, row) => {
          [showTime(row.t), row.kind === "upcall" ? "↩ upcall" : row.name, row.args, row.ret].forEach((words, at) => setText(node.children[at], words));
          setAttrs(node, { "data-kind": row.kind, "data-failed": row.failed ? "yes" : null });
        },
      );
    },
  };
}

/** What the guest changed in xenstore. */
export function cpuWrites() {
  const table = cpuTable("changes of xenstore, the newest first", ["t", "", "path", "value"]);
  return {
    root: table.root,
    update(side) {
      setText(table.none, side.writes.length ? "" : "it has changed nothing");
      eachRow(
        table.body,
        side.writes,
        (row) => row.id,
        cpuCells(4),
        (node, row) => [showTime(row.t), row.kind, row.path, row.value].forEach((words, at) => setText(node.children[at], words)),
      );
    },
  };
}

/** The console of the guest, and a line to type into it. */
export function cpuConsole(host) {
  let name = "";
  const text = el("pre", { class: "ml-cpu-console", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "console of the guest" });
  const line = el("input", { type: "text", class: "ml-cpu-typed", maxlength: "999", autocomplete: "off", spellcheck: "false" });
  const ending = el("select", {});
  ending.append(el("option", { value: "\r" }, "carriage return"), el("option", { value: "\n" }, "newline"));
  const form = el(
    "form",
    {
      class: "ml-bar",
      on: {
        submit: (event) => {
          event.preventDefault();
          host.act("console.write", { domain: name, text: `${line.value}${ending.value}` });
          line.value = "";
        },
      },
    },
    labelled("type", line, { class: "ml-labelled ml-wide" }),
    labelled("and", ending),
    el("button", { type: "submit", class: "ml-button" }, "send"),
  );
  return {
    root: el("div", {}, text, form),
    update(side) {
      name = side.name;
      const { lines, left_out: left } = side.console;
      const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
      setText(text, (left ? [`... ${showCount(left)} earlier lines: vm.console.text`, ...lines] : lines).join("\n"));
      if (atEnd) text.scrollTop = text.scrollHeight;
    },
  };
}

/** The way of an address through the page tables, asked for when it is typed. */
export function cpuTables(host) {
  let name = "";
  let seen = "";
  let asked = "";
  const typed = el("input", { type: "text", size: 20, spellcheck: "false", placeholder: "hexadecimal, symbol, register" });
  const table = cpuTable("the way of the address", ["table", "entry at", "entry", "says"]);
  const end = el("p", { class: "ml-cpu-end" });
  const bytes = el("pre", { class: "ml-cpu-dump", tabindex: "0", "aria-label": "bytes at the address" });
  const wrong = el("p", { class: "ml-trouble", role: "alert", hidden: true });
  const answer = el("div", { hidden: true }, table.root, end, bytes);
  const ask = () => {
    const what = asked;
    host.ask("cpu.walk", { domain: name, address: what }).then(
      (found) => what === asked && tell(found),
      (error) => {
        setText(wrong, error.message);
        wrong.hidden = false;
        answer.hidden = true;
      },
    );
  };
  const form = el(
    "form",
    {
      class: "ml-bar",
      on: {
        submit: (event) => {
          event.preventDefault();
          asked = typed.value.trim();
          if (asked) ask();
        },
      },
    },
    labelled("address", typed),
    el("button", { type: "submit", class: "ml-button" }, "walk"),
  );

  function tell(found) {
    wrong.hidden = true;
    answer.hidden = false;
    setText(table.none, found.steps.length ? "" : found.physical === null ? "not an address of this CPU" : "no page tables are in use: a linear address is a physical one");
    eachRow(
      table.body,
      found.steps,
      (row) => row[0],
      cpuCells(4),
      (node, [level, at, entry, says]) => [level, `0x${at}`, `0x${entry}`, says].forEach((words, place) => setText(node.children[place], words)),
    );
    const page = found.size >= 1 << 20 ? `${found.size >> 20} MiB` : `${found.size >> 10} KiB`;
    setText(end, found.physical === null ? `0x${found.linear} leads nowhere: touching it is a page fault` : `0x${found.linear} is physical 0x${found.physical}, in a page of ${page}: ${found.rights}`);
    setText(bytes, cpuDump(found.bytes));
    host.say(end.textContent);
  }

  return {
    root: el("div", {}, form, wrong, answer),
    update(side) {
      const at = side.cpu ? `${side.name} ${side.cpu.exits} ${side.cpu.instructions} ${side.cpu.pc}` : "";
      if (side.name !== name) {
        asked = "";
        answer.hidden = wrong.hidden = true;
      }
      name = side.name;
      if (asked && at !== seen) ask();
      seen = at;
    },
  };
}

function cpuDump(hex) {
  const lines = [];
  for (let at = 0; at < hex.length; at += 32) {
    const row = hex.slice(at, at + 32).match(/../g) ?? [];
    const letters = row.map((byte) => parseInt(byte, 16)).map((code) => (code >= 32 && code < 127 ? String.fromCharCode(code) : "."));
    lines.push(`+${(at / 2).toString(16).padStart(2, "0")}  ${row.join(" ").padEnd(47)}  ${letters.join("")}`);
  }
  return lines.join("\n");
}

/** Memory by owner and grant: the map of the Boot tab, with a choice of its own. */
export function cpuMemory(host, side) {
  const map = bootMemory(host, { colour: `cpu.${side}.colour`, run: `cpu.${side}.run` });
  return { root: map.root, update: (told) => map.update(told.memory) };
}

/** Breakpoints: a place, a hypercall or a kind of event that is typed; and a list of those there are. */
export function cpuStops(host) {
  let name = "";
  const kind = el("select", {});
  kind.append(el("option", { value: "" }, "symbol or address"), el("option", { value: "hypercall:" }, "hypercall"), el("option", { value: "event:" }, "event"));
  const where = cpuPlace(host, () => name, () => !kind.value);
  kind.addEventListener("change", () => where.hint(kind.value ? (kind.value === "event:" ? "evtchn.upcall" : "event_channel_op.*") : ""));
  const list = el("ul", { class: "ml-cpu-stops", "aria-label": "breakpoints" });
  const none = el("p", { class: "ml-hint" });
  const form = el(
    "form",
    {
      class: "ml-bar",
      on: {
        submit: (event) => {
          event.preventDefault();
          if (!where.input.value.trim()) return;
          host.act("cpu.break", { domain: name, where: kind.value + where.input.value.trim() });
          where.input.value = "";
        },
      },
    },
    labelled("stop at", kind),
    where.root,
    el("button", { type: "submit", class: "ml-button" }, "set breakpoint"),
  );
  return {
    root: el("div", {}, form, none, list),
    update(side) {
      name = side.name;
      setText(none, side.stops.length ? "" : "no breakpoints");
      eachRow(
        list,
        side.stops,
        ([typed]) => typed,
        ([typed]) => el("li", {}, el("span", { class: "ml-cpu-stop" }, "● "), el("span", { class: "ml-mono" }), " ", button("remove", () => host.act("cpu.break", { domain: name, where: typed }), { "aria-label": `remove the breakpoint ${typed}` })),
        (node, [typed, address]) => setText(node.children[1], address && typed !== `0x${address}` ? `${typed} (0x${address})` : typed),
      );
    },
  };
}

/** A line to type a symbol or an address into, with the names there are. */
export function cpuPlace(host, whose, symbols = () => true) {
  const offered = el("datalist", { id: host.id(`cpu-names-${(cpuPlaces += 1)}`) });
  const input = el("input", { type: "text", size: 20, spellcheck: "false", autocomplete: "off", list: offered.id, placeholder: "main or 0x100000", "aria-label": "symbol or address" });
  let asked = "";
  input.addEventListener("input", () => {
    const typed = input.value.trim();
    if (!symbols() || !typed || typed === asked) return;
    asked = typed;
    host.ask("cpu.symbols", { domain: whose(), typed }).then(
      (names) => typed === asked && offered.replaceChildren(...names.map((value) => el("option", { value }))),
      () => offered.replaceChildren(),
    );
  });
  return {
    input,
    root: el("span", {}, input, offered),
    hint: (words) => setAttrs(input, { placeholder: words || "main or 0x100000", "aria-label": words ? `such as ${words}` : "symbol or address" }),
  };
}

export function cpuParts(host, side, choose) {
  const names = [
    ["calls", "Hypercalls", cpuCalls()],
    ["stops", "Breakpoints", cpuStops(host)],
    ["memory", "Memory map", cpuMemory(host, side)],
    ["tables", "Page tables", cpuTables(host)],
    ["xenstore", "Xenstore", cpuWrites()],
    ["console", "Console", cpuConsole(host)],
  ];
  const bar = el("div", { class: "ml-bar ml-cpu-parts", role: "group", "aria-label": "what is shown below" });
  const root = el("div", { class: "ml-cpu-below" }, bar, ...names.map(([, , part]) => part.root));
  return {
    root,
    update(told) {
      eachRow(
        bar,
        names.filter(([name]) => !["tables", "stops"].includes(name) || told.cpu),
        ([name]) => name,
        ([name, words]) => button(words, () => choose(name), { "data-part": name }),
        (node, [name, words]) => {
          setText(node, name === "stops" && told.stops.length ? `${words} (${told.stops.length})` : words);
          setAttrs(node, { "aria-pressed": name === told.part ? "true" : "false" });
        },
      );
      for (const [name, , part] of names) {
        part.root.hidden = name !== told.part;
        if (name === told.part) part.update(told);
      }
    },
  };
}
