// bootparts: what stands below the timeline of the Boot tab: memory, event channels, and bytes with names.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showCount, svg } from "./dom.js";

const BOOT_CELL = 10;
const BOOT_CELLS = 64;

/** Pages: cells, each page one; a long run is folded into one row of cells. */
export function bootMemory(host, names = { colour: "boot.colour", run: "boot.run" }) {
  const by = el("select", { on: { change: (event) => host.look({ [names.colour]: event.target.value }) } });
  by.append(el("option", { value: "type" }, "what it is for"), el("option", { value: "owner" }, "owner"), el("option", { value: "grant" }, "grant"));
  const legend = el("ul", { class: "ml-boot-legend" });
  const title = svg("title", {}, "memory map");
  const desc = svg("desc", {});
  const map = svg("g", {});
  const drawing = svg("svg", { class: "ml-boot-map", role: "img" }, title, desc, map);
  const list = el("div", { class: "ml-boot-runs", role: "group", "aria-label": "runs of pages" });
  const note = el("p", { class: "ml-hint" });
  const detail = el("div", { class: "ml-boot-run", role: "region", "aria-label": "the chosen pages", hidden: true });
  const words = el("p", {});
  const page = el("input", { type: "number", min: "0", class: "ml-boot-time" });
  const bytes = el("pre", { class: "ml-boot-page", tabindex: "0", "aria-label": "bytes of the page" });
  let data = null;
  let chosen = null;
  const read = () =>
    host
      .ask("boot.page", { domain: data.domain, pfn: Number(page.value) })
      .then((found) => {
        setText(bytes, found.rows.map(([at, hex, text]) => `${at.toString(16).padStart(4, "0")}  ${hex.replace(/../g, "$& ")} ${text}`).join("\n"));
        host.say(`bytes of page ${found.pfn}`);
      })
      .catch((error) => setText(bytes, error.message));
  page.addEventListener("keydown", (event) => {
    if (event.key === "Enter") read();
  });
  detail.append(words, el("div", { class: "ml-bar" }, labelled("page", page), button("show bytes", read)), bytes);
  const root = el(
    "div",
    { class: "ml-boot-memory" },
    el("div", { class: "ml-bar" }, labelled("colour by", by), legend),
    el("div", { class: "ml-two" }, el("div", { class: "ml-across", tabindex: "0", role: "region", "aria-label": "memory map" }, drawing), el("div", {}, list, note, detail)),
  );
  roving(list, ".ml-boot-runbutton");

  /** What a run is called on the map: a letter and a colour, both by its place in the legend. */
  const letter = (order, name) => String.fromCharCode(65 + (order.indexOf(name) % 26));
  const paint = (order, name) => ({ "data-colour": order.indexOf(name) % 8, "data-plain": name === "kernel" || name === "RAM" || name === "not granted" ? "yes" : null });

  function tell(run) {
    const pages = `${showCount(run.count)} page${run.count === 1 ? "" : "s"}`;
    const grant = run.to && run.grant !== "mapped from another" ? `${run.grant} to ${run.to}` : run.grant;
    return `${showCount(run.first)}: ${pages}, ${run.type}, of ${run.owner}, ${grant}${run.ref === null ? "" : `, ref ${run.ref}${run.count > 1 ? " on" : ""}`}`;
  }

  function choose(run) {
    host.look({ [names.run]: run.first });
    page.value = run.first;
    setText(bytes, "");
  }

  function draw(runs, key, order) {
    const fold = runs.reduce((sum, run) => sum + Math.min(run.count, 256), 0) > 4096 ? BOOT_CELLS : 256;
    let cell = 0;
    const drawn = runs.map((run) => {
      if (run.count > fold && cell % BOOT_CELLS) cell += BOOT_CELLS - (cell % BOOT_CELLS);
      const start = cell;
      const long = run.count > fold;
      cell += long ? BOOT_CELLS : run.count;
      return { ...run, start, end: cell, long };
    });
    const height = Math.ceil(cell / BOOT_CELLS) * BOOT_CELL;
    const width = BOOT_CELLS * BOOT_CELL;
    setAttrs(drawing, { width: width + 2, height: height + 2, viewBox: `-1 -1 ${width + 2} ${height + 2}` });
    eachRow(
      map,
      drawn,
      (run) => run.first,
      () => svg("g", { class: "ml-boot-cells" }, svg("title", {}), svg("path", {}), svg("text", { "text-anchor": "middle" })),
      (group, run) => {
        const [tip, path, text] = group.children;
        group.onclick = () => choose(run);
        setAttrs(group, { ...paint(order, run[key]), "data-chosen": run.first === chosen ? "yes" : null });
        setText(tip, tell(run));
        const cells = [];
        for (let at = run.start; at < run.end; at += 1) {
          const left = (at % BOOT_CELLS) * BOOT_CELL;
          const top = Math.floor(at / BOOT_CELLS) * BOOT_CELL;
          if (run.long) {
            cells.push(`M${left} ${top}h${(run.end - at) * BOOT_CELL - 1}v${BOOT_CELL - 1}h${-((run.end - at) * BOOT_CELL - 1)}z`);
            break;
          }
          cells.push(`M${left} ${top}h${BOOT_CELL - 1}v${BOOT_CELL - 1}h${-(BOOT_CELL - 1)}z`);
        }
        setAttrs(path, { d: cells.join("") });
        const left = (run.start % BOOT_CELLS) * BOOT_CELL;
        setAttrs(text, { x: run.long ? width / 2 : left + (BOOT_CELL - 1) / 2, y: Math.floor(run.start / BOOT_CELLS) * BOOT_CELL + BOOT_CELL - 2.5 });
        setText(text, run.long ? `${letter(order, run[key])}: ${showCount(run.count)} pages` : letter(order, run[key]));
      },
    );
  }

  return {
    root,
    update(memory) {
      data = memory;
      const key = ["type", "owner", "grant"].includes(memory.colour) ? memory.colour : "type";
      if (document.activeElement !== by) by.value = key;
      chosen = memory.chosen ?? null;
      const order = memory.counts[key].map(([name]) => name);
      const runs = memory.runs.map(([first, count, type, owner, grant, to, ref]) => ({ first, count, type, owner, grant, to, ref }));
      eachRow(
        legend,
        memory.counts[key].map(([name, count], index) => ({ name, count, index })),
        (row) => row.name,
        () => el("li", {}, el("span", { class: "ml-boot-swatch", "aria-hidden": "true" }), el("span", {})),
        (node, row) => {
          setAttrs(node.firstChild, paint(order, row.name));
          setText(node.firstChild, letter(order, row.name));
          setText(node.lastChild, `${row.name} ${showCount(row.count)}`);
        },
      );
      setText(title, `memory of ${memory.domain}`);
      setText(desc, runs.slice(0, 40).map(tell).join("; "));
      draw(runs, key, order);
      eachRow(
        list,
        runs,
        (run) => run.first,
        () => el("button", { type: "button", class: "ml-boot-runbutton", tabindex: "-1" }, el("span", { class: "ml-boot-swatch", "aria-hidden": "true" }), el("span", {})),
        (node, run) => {
          node.onclick = () => choose(run);
          setAttrs(node, { "aria-pressed": run.first === chosen ? "true" : "false" });
          setAttrs(node.firstChild, paint(order, run[key]));
          setText(node.firstChild, letter(order, run[key]));
          setText(node.lastChild, tell(run));
        },
      );
      if (!list.querySelector('[tabindex="0"]')) list.querySelector("button")?.setAttribute("tabindex", "0");
      setText(note, memory.left_out ? `${showCount(memory.left_out)} more runs are not listed` : "");
      const run = runs.find((each) => each.first === chosen);
      detail.hidden = !run;
      if (run) {
        if (!page.value) page.value = run.first;
        const inside = run.first >= memory.ram[0] && run.first < memory.ram[1];
        const frames = !inside ? "; beyond RAM" : memory.own_frames ? "" : `; machine frames from 0x${(memory.base + run.first).toString(16)}`;
        setText(words, `${tell(run)}; address 0x${(run.first * 4096).toString(16)}${frames}`);
      }
    },
  };
}

/** Ports on the left, their other ends on the right; the table says the same in words. */
export function bootChannels(host) {
  const title = svg("title", {}, "event channels");
  const desc = svg("desc", {});
  const group = svg("g", {});
  const drawing = svg("svg", { class: "ml-boot-channels", role: "img" }, title, desc, group);
  const body = el("tbody", {});
  const note = el("p", { class: "ml-hint" });
  const heads = ["port", "for", "state", "other end", "here", "there", "because of"];
  const table = el(
    "table",
    { class: "ml-table" },
    el("caption", {}, "event channels"),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    body,
  );
  const root = el("div", { class: "ml-boot-channel" }, note, el("div", { class: "ml-two" }, el("div", { class: "ml-across", tabindex: "0", role: "region", "aria-label": "event channels" }, drawing), el("div", { class: "ml-across", tabindex: "0", role: "region", "aria-label": "ports" }, table)));
  const bits = (pending, masked) => [pending ? "pending" : "", masked ? "masked" : ""].filter(Boolean).join(", ") || "quiet";

  return {
    root,
    update(data) {
      setText(note, `${data.domain} is ${data.state}: ${showCount(data.sent)} events sent, ${showCount(data.upcalls)} upcalls taken${data.left_out ? `; ${showCount(data.left_out)} more ports` : ""}`);
      setText(title, `event channels of ${data.domain}`);
      setText(desc, data.ports.map((row) => `port ${row.port} ${row.purpose || row.status}: ${bits(row.pending, row.masked)}`).join("; "));
      setAttrs(drawing, { width: 460, height: 26 + 28 * data.ports.length, viewBox: `0 0 460 ${26 + 28 * data.ports.length}` });
      eachRow(
        group,
        data.ports.map((row, index) => ({ ...row, y: 22 + 28 * index })),
        (row) => row.port,
        () =>
          svg("g", { class: "ml-boot-port" }, svg("rect", { x: 2, width: 150, height: 22, rx: 4 }), svg("text", { x: 10 }), svg("line", { x1: 152 }), svg("text", { class: "ml-boot-bits", "text-anchor": "middle" }), svg("rect", { x: 300, width: 156, height: 22, rx: 4 }), svg("text", { x: 308 })),
        (node, row) => {
          const [near, name, line, words, far, other] = node.children;
          const bound = row.remote_port !== null;
          setAttrs(node, { "data-pending": row.pending || row.remote_pending ? "yes" : null, "data-masked": row.masked ? "yes" : null, "data-bound": bound ? "yes" : "no" });
          setAttrs(near, { y: row.y });
          setAttrs(name, { y: row.y + 15 });
          setText(name, `${row.pending ? "◆ " : ""}port ${row.port} ${row.purpose || row.status}`.slice(0, 24));
          setAttrs(line, { x2: bound ? 300 : 220, y1: row.y + 11, y2: row.y + 11 });
          setAttrs(words, { x: 226, y: row.y + 8 });
          setText(words, row.pending || row.masked || row.remote_pending ? bits(row.pending || row.remote_pending, row.masked) : "");
          far.style.display = bound ? "" : "none";
          setAttrs(far, { y: row.y });
          setAttrs(other, { x: bound ? 308 : 226, y: row.y + 15 });
          setText(other, (bound ? `${row.remote_pending ? "◆ " : ""}${row.remote} port ${row.remote_port}` : row.remote ? `${row.status}, for ${row.remote}` : row.status).slice(0, 26));
        },
      );
      eachRow(
        body,
        data.ports,
        (row) => row.port,
        () => el("tr", {}, el("th", { scope: "row" }), ...heads.slice(1, -1).map(() => el("td", {})), el("td", {}, button("", () => {}, {}))),
        (node, row) => {
          const there = row.remote_port === null ? "" : bits(row.remote_pending, row.remote_masked);
          const values = [row.port, row.purpose, row.status, row.remote === null ? "" : `${row.remote}${row.remote_port === null ? "" : ` port ${row.remote_port}`}`, bits(row.pending, row.masked), there];
          values.forEach((value, index) => setText(node.children[index], value));
          const why = node.lastChild.firstChild;
          why.hidden = !row.cause;
          setText(why, `#${row.cause}`);
          why.onclick = () => host.look({ "boot.event": row.cause });
        },
      );
    },
  };
}

/** Bytes and fields: choose either, both light up.  A byte that changed since the last look is marked. */
export function bootBytes(host) {
  const where = el("p", { class: "ml-hint" });
  const rows = el("div", { class: "ml-boot-hex", role: "grid", "aria-label": "bytes" });
  const fields = el("div", { class: "ml-boot-fields", role: "group", "aria-label": "fields" });
  const told = el("p", { class: "ml-boot-told" });
  const root = el("div", { class: "ml-boot-bytes" }, where, told, el("div", { class: "ml-two" }, el("div", { class: "ml-across", tabindex: "0", role: "region", "aria-label": "bytes of the page" }, rows), el("div", { class: "ml-scroll" }, fields)));
  let data = null;
  let chosen = null;
  let last = new Map();
  let changed = new Map();
  let shown = "";
  roving(fields, ".ml-boot-field");

  const fieldAt = (at) => data.fields.find(([, from, size]) => at >= from && at < from + size)?.[0] ?? null;

  function choose(name) {
    chosen = name;
    host.look({ "boot.field": name });
    light();
  }

  function light() {
    const field = data.fields.find(([name]) => name === chosen);
    const [from, to] = field ? [field[1], field[1] + field[2]] : [-1, -1];
    for (const cell of rows.querySelectorAll(".ml-boot-byte")) {
      const at = Number(cell.dataset.at);
      setAttrs(cell, { "aria-selected": at >= from && at < to ? "true" : "false" });
    }
    for (const node of fields.querySelectorAll(".ml-boot-field")) setAttrs(node, { "aria-pressed": node.dataset.field === chosen ? "true" : "false" });
    setText(told, field ? `${field[0]}: bytes ${field[1]} to ${field[1] + field[2] - 1}, ${field[3]}${field[4] ? ` (${field[4]})` : ""}` : "Choose a field or a byte: arrow keys move, both sides light up.");
  }

  rows.addEventListener("focusin", (event) => {
    const cell = event.target.closest(".ml-boot-byte");
    if (!cell) return;
    rows.querySelectorAll('.ml-boot-byte[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
    cell.setAttribute("tabindex", "0");
    const name = fieldAt(Number(cell.dataset.at));
    if (name !== chosen) choose(name);
  });
  rows.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 };
    const cell = event.target.closest(".ml-boot-byte");
    if (!cell || !(event.key in steps || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    const all = [...rows.querySelectorAll(".ml-boot-byte")];
    const at = all.indexOf(cell);
    const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : at + steps[event.key];
    all[Math.max(0, Math.min(all.length - 1, next))]?.focus();
  });

  function note() {
    const key = `${data.domain} ${data.name}`;
    const now = new Map();
    for (const [at, hex] of data.rows) for (let place = 0; place * 2 < hex.length; place += 1) now.set(at + place, hex.slice(2 * place, 2 * place + 2));
    if (shown !== key) {
      shown = key;
      changed = new Map();
    } else {
      const differs = [...new Set([...now.keys(), ...last.keys()])].filter((at) => (now.get(at) ?? "00") !== (last.get(at) ?? "00"));
      if (differs.length) changed = new Map(differs.map((at) => [at, true]));
    }
    last = now;
  }

  return {
    root,
    update(bytes) {
      data = bytes;
      chosen = data.fields.some(([name]) => name === bytes.chosen) ? bytes.chosen : null;
      note();
      setText(where, `${data.name} of ${data.domain}: ${data.where}${data.zero_rows ? `; ${showCount(data.zero_rows)} rows of zeros are left out` : ""}`);
      eachRow(
        rows,
        data.rows.map(([at, hex, text]) => ({ at, hex, text })),
        (row) => row.at,
        (row) =>
          el(
            "div",
            { role: "row", class: "ml-boot-hexrow" },
            el("span", { role: "rowheader", class: "ml-boot-at" }, row.at.toString(16).padStart(4, "0")),
            ...Array.from({ length: row.hex.length / 2 }, (_, place) => el("span", { role: "gridcell", class: "ml-boot-byte", tabindex: "-1", "data-at": row.at + place, on: { click: (event) => event.currentTarget.focus() } })),
            el("span", { role: "gridcell", class: "ml-boot-text" }),
          ),
        (node, row) => {
          for (let place = 0; place * 2 < row.hex.length; place += 1) {
            const cell = node.children[place + 1];
            setText(cell, row.hex.slice(2 * place, 2 * place + 2));
            setAttrs(cell, { "data-changed": changed.has(row.at + place) ? "yes" : null, title: changed.has(row.at + place) ? "changed" : null });
          }
          setText(node.lastChild, row.text);
        },
      );
      if (!rows.querySelector('[tabindex="0"]')) rows.querySelector(".ml-boot-byte")?.setAttribute("tabindex", "0");
      eachRow(
        fields,
        data.fields.map(([name, at, size, value, meaning]) => ({ name, at, size, value, meaning })),
        (field) => field.name,
        (field) =>
          el("button", { type: "button", class: "ml-boot-field", tabindex: "-1", "data-field": field.name, on: { click: () => choose(field.name) } }, el("span", { class: "ml-boot-at" }), el("span", { class: "ml-boot-fieldname" }), el("span", { class: "ml-boot-value" }), el("span", { class: "ml-boot-meaning" })),
        (node, field) => {
          [field.at.toString(16).padStart(4, "0"), field.name, field.value, field.meaning].forEach((text, index) => setText(node.children[index], text));
        },
      );
      if (!fields.querySelector('[tabindex="0"]')) fields.querySelector("button")?.setAttribute("tabindex", "0");
      light();
    },
  };
}
