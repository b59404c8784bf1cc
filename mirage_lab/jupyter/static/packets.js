// packets: a capture as a table of any length.  Rows are asked for as they come into sight; only those in sight are
// elements, so that a hundred thousand frames cost the page no more than thirty.

import { button, eachRow, el, labelled, setAttrs, setText, showCount } from "./dom.js";
import { packetDetails } from "./packetparts.js";

const PACKETS_ROW = 22;
const PACKETS_HEAD = 24;
const PACKETS_PAGE = 100;
const PACKETS_KEPT = 4000;
const PACKETS_IN_SIGHT = 80;
const PACKETS_AHEAD = 40;
const PACKETS_TALLEST = 8000000;
const PACKETS_COLUMNS = ["n", "time (s)", "source", "destination", "protocol", "length", "info", "fate"];
const PACKETS_COLOURS = { TCP: 0, UDP: 2, ARP: 4, ICMP: 3 };
const PACKETS_LOOK_MS = 60;
const PACKETS_ECHO_MS = 2000;

export function packetsView(host) {
  const captures = el("select", { on: { change: (event) => host.look({ "packets.capture": event.target.value, "packets.selected": null }) } });
  const places = el("select", {});
  const begin = button("begin", () => {
    const [kind, name] = [places.value.slice(0, 1), places.value.slice(2)];
    if (name) host.act("packets.capture", kind === "l" ? { lan: name } : { domain: name });
  });
  const beginning = labelled("capture on", places);
  const save = button("save as pcapng", () => host.act("packets.save", { capture: data.capture }), { title: "beside the notebook, for Wireshark" });
  const filter = el("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: "such as tcp.port == 80", class: "ml-mono" });
  const wrong = el("p", { class: "ml-trouble ml-pk-wrong", id: host.id("packets-wrong"), role: "alert", hidden: true });
  const examples = el("span", { class: "ml-pk-examples", role: "group", "aria-label": "examples of filters" });
  const form = el(
    "form",
    { class: "ml-bar", on: { submit: (event) => (event.preventDefault(), apply(filter.value)) } },
    labelled("display filter", filter, { class: "ml-labelled ml-wide" }),
    el("button", { type: "submit", class: "ml-button" }, "apply"),
    button("clear", () => apply("")),
    examples,
  );
  const number = el("input", { type: "number", min: "1", step: "1", class: "ml-pk-number" });
  const going = el("form", { class: "ml-pk-going", on: { submit: (event) => (event.preventDefault(), goTo(Number(number.value))) } }, labelled("frame number", number), el("button", { type: "submit", class: "ml-button" }, "go"));
  const follow = button("follow the end", () => following(follow.getAttribute("aria-pressed") !== "true"), { "aria-pressed": "false" });
  const words = el("span", { class: "ml-pk-words" });
  const went = el("span", { class: "ml-hint" });
  const line = el("code", { class: "ml-pk-line" });
  const none = el("p", { class: "ml-hint" });
  const table = packetTable(host, { pick, enter: () => details.focus(), moved: () => following(false) });
  const details = packetDetails(host, (n) => goTo(n), () => table.focus());
  const below = el("div", { class: "ml-bar ml-pk-below" }, line, save);
  const above = el("div", { class: "ml-bar" }, labelled("capture", captures), going, follow, words, went);
  const shown = el("div", {}, above, form, wrong, table.root, none, below, details.root);
  const empty = el("p", { class: "ml-hint" });
  const root = el("div", { class: "ml-pk" }, shown, empty, el("div", { class: "ml-bar" }, beginning, begin));
  let data = { capture: null };
  let selected = null;
  let mine = { n: null, until: 0 };
  let wanted = 0;
  let scanning = false;
  let lost = false;
  let spoken = "";
  let asked = "";
  let due = 0;

  function apply(text) {
    filter.value = text;
    host.look({ "packets.filter": text.trim() });
  }

  function following(on) {
    setAttrs(follow, { "aria-pressed": on ? "true" : "false" });
    table.follow(on);
  }

  /** Choose a frame: the details at once, the others a moment later, when keys have stopped repeating. */
  function pick(n) {
    setText(went, "");
    mine = { n, until: performance.now() + PACKETS_ECHO_MS };
    clearTimeout(due);
    due = setTimeout(() => host.look({ "packets.selected": n }), PACKETS_LOOK_MS);
    select(n);
  }

  function select(n) {
    selected = n;
    table.select(n);
    fetchPacket();
  }

  /** One question at a time; when the answer comes, what is chosen then is asked for. */
  async function fetchPacket() {
    const key = `${table.serial()} ${selected}`;
    if (wanted || key === asked) return;
    asked = key;
    if (selected === null || !data.capture) {
      details.show(null);
      return;
    }
    wanted = 1;
    try {
      const packet = await host.ask("packets.packet", { capture: data.capture, n: selected });
      if (packet.n === selected) details.show(packet);
    } catch (error) {
      details.show(null, error.message);
    }
    wanted = 0;
    fetchPacket();
  }

  async function goTo(n) {
    if (!Number.isInteger(n) || n < 0 || !data.capture) return;
    following(false);
    if (n > data.last) tell(`the last frame is ${showCount(data.last)}`);
    else if (n >= data.first + data.scanned) tell(`the filter has not come to frame ${showCount(n)} yet`);
    else {
      const found = await table.goTo(n);
      if (found === null) return;
      pick(found);
      tell(found === n ? "" : `frame ${showCount(n)} is not among them: ${showCount(found)} is the nearest`);
    }
  }

  function tell(said) {
    setText(went, said);
    if (said) host.say(said);
  }

  /** The filter looks a bounded number of frames further at each question: go on asking until it is done. */
  async function scan() {
    if (scanning) return;
    scanning = true;
    try {
      while (!data.done && data.capture !== null) {
        const asking = { capture: data.capture, filter: table.filter() };
        const now = await host.ask("packets.scan", asking);
        if (asking.capture !== data.capture || asking.filter !== table.filter() || now.serial !== data.serial) continue;
        progress({ ...data, ...now });
      }
    } catch (error) {
      setText(words, error.message);
    }
    scanning = false;
  }

  function progress(now) {
    data = now;
    if (table.update(now)) lost = selected !== null;
    if (lost && selected < now.first + now.scanned) {
      lost = false;
      table.goTo(selected);
    }
    const filtered = now.filter && !now.wrong;
    const so = now.scanned < now.frames ? `filtered ${showCount(now.scanned)} of ${showCount(now.frames)}: ${showCount(now.matching)} match so far` : `${showCount(now.matching)} of ${showCount(now.frames)} frames match`;
    const dropped = now.first > 1 ? `, the oldest ${showCount(now.first - 1)} dropped` : "";
    setText(words, `${filtered ? so : `${showCount(now.frames)} frames`}${dropped}`);
    const topic = JSON.stringify([now.capture, now.filter]);
    if (now.done && topic !== spoken) {
      if (spoken && !now.wrong) host.say(words.textContent);
      spoken = topic;
    }
    none.hidden = now.matching > 0;
    setText(none, now.frames ? (now.done ? "No frame matches this filter." : "No frame matches so far.") : "Nothing was said yet: press play, or run 1 s.");
  }

  return {
    root,
    update(given) {
      const options = (list, kind) => list.map((name) => ({ value: `${kind} ${name}`, name: kind === "l" ? `lan ${name}` : `the port of ${name}` }));
      eachRow(captures, given.captures, (row) => row.name, (row) => el("option", { value: row.name }, row.label));
      if (document.activeElement !== captures && given.capture !== null) captures.value = given.capture;
      const possible = [...options(given.lans, "l"), ...options(given.domains, "d")];
      eachRow(places, possible, (row) => row.value, (row) => el("option", { value: row.value }, row.name));
      beginning.hidden = begin.hidden = !possible.length;
      eachRow(examples, given.examples, (text) => text, (text) => button(text, () => apply(text), { class: "ml-button ml-pk-link ml-mono" }));
      shown.hidden = given.capture === null;
      empty.hidden = given.capture !== null;
      setText(empty, possible.length ? "Nothing is captured: begin here, or with lab.capture(lan)." : "There is no lan whose frames could be captured: lab.lan() makes one.");
      if (given.capture === null) {
        data = given;
        return;
      }
      if (document.activeElement !== filter) filter.value = given.filter;
      wrong.hidden = !given.wrong;
      setText(wrong, given.wrong ? `${given.wrong}\nUntil it can be read, every frame is shown.` : "");
      setAttrs(filter, { "aria-invalid": given.wrong ? "true" : null, "aria-describedby": given.wrong ? wrong.id : null });
      setText(line, given.filter && !given.wrong ? `${given.trace}.filter(${packetsQuoted(given.filter)})` : given.trace);
      progress(given);
      if (mine.n === given.selected || performance.now() > mine.until) {
        mine = { n: null, until: 0 };
        if (given.selected !== selected) {
          select(given.selected);
          if (given.selected !== null) table.goTo(given.selected);
        }
      }
      fetchPacket();
      if (!given.done) scan();
    },
  };
}

/** A text as Python writes it. */
function packetsQuoted(text) {
  const escaped = text.replaceAll("\\", "\\\\");
  return escaped.includes('"') && !escaped.includes("'") ? `'${escaped}'` : `"${escaped.replaceAll('"', '\\"')}"`;
}

/** The table: a grid that is one stop of the Tab key; arrow keys move its chosen row. */
function packetTable(host, on) {
  const head = el("div", { role: "rowgroup", class: "ml-pk-head" });
  head.append(el("div", { role: "row", "aria-rowindex": "1", class: "ml-pk-row" }, ...PACKETS_COLUMNS.map((name, place) => el("span", { role: "columnheader", "aria-colindex": place + 1 }, name))));
  const space = el("div", { role: "rowgroup", class: "ml-pk-space" });
  const grid = el("div", { class: "ml-pk-grid", role: "grid", tabindex: "0", "aria-label": "frames of the capture", "aria-colcount": PACKETS_COLUMNS.length, "aria-rowcount": 1 }, head, space);
  const known = new Map();
  const nodes = [];
  let data = null;
  let key = "";
  let total = 0;
  let active = 0;
  let chosen = null;
  let held = false;
  let busy = false;
  let waiting = null;
  let age = 0;

  const inner = () => Math.max(PACKETS_ROW, grid.clientHeight - PACKETS_HEAD);
  const rowsInSight = () => Math.max(1, Math.floor(inner() / PACKETS_ROW));
  const tall = () => Math.min(total * PACKETS_ROW, PACKETS_TALLEST);
  const scaled = () => total * PACKETS_ROW > PACKETS_TALLEST;
  /** The row at the top, not whole: beyond the tallest element a browser makes, the scroll bar is a share of the rows. */
  const topRow = () => (scaled() ? (grid.scrollTop / Math.max(1, tall() - inner())) * Math.max(0, total - inner() / PACKETS_ROW) : grid.scrollTop / PACKETS_ROW);
  const scrollFor = (row) => (scaled() ? (row / Math.max(1, total - inner() / PACKETS_ROW)) * (tall() - inner()) : row * PACKETS_ROW);
  const rowAt = (index) => known.get(index)?.row ?? null;
  /** True for a row to ask for: never seen, of before the rows moved, or without its sequence numbers, which are known now. */
  const isWanted = (index) => {
    const entry = known.get(index);
    return !entry || entry.age !== age || (!entry.settled && entry.row[0] < data.first + data.numbered);
  };

  function makeRow() {
    const node = el("div", { role: "row", class: "ml-pk-row ml-pk-frame" });
    PACKETS_COLUMNS.forEach((name, place) => node.append(el("span", { role: "gridcell", "aria-colindex": place + 1 })));
    node.children[2].append(el("span", {}), " ", el("span", { class: "ml-pk-host" }));
    node.children[3].append(el("span", {}), " ", el("span", { class: "ml-pk-host" }));
    node.addEventListener("click", () => move(Number(node.dataset.row)));
    return node;
  }

  function fill(node, index, y) {
    const row = rowAt(index);
    const cells = node.children;
    setAttrs(node, { id: host.id(`packets-row-${index}`), "data-row": index, "aria-rowindex": index + 2, "aria-selected": row && row[0] === chosen ? "true" : "false", "data-active": index === active ? "yes" : null, "data-lost": row && row[9].startsWith("lost") ? "yes" : null });
    node.style.transform = `translateY(${y}px)`;
    const [n, t, src, srcName, dst, dstName, protocol, length, info, fate] = row ?? ["…", null, "", "", "", "", "", "", "", ""];
    setText(cells[0], row ? n : "…");
    setText(cells[1], row ? (t / 1e9).toFixed(6) : "");
    setText(cells[2].children[0], src);
    setText(cells[2].children[1], srcName);
    setText(cells[3].children[0], dst);
    setText(cells[3].children[1], dstName);
    setText(cells[4], protocol);
    setAttrs(cells[4], { "data-colour": PACKETS_COLOURS[protocol] ?? null });
    setText(cells[5], length);
    setText(cells[6], info);
    setAttrs(cells[6], { title: info || null });
    setText(cells[7], fate);
    setAttrs(cells[7], { title: fate || null });
  }

  function draw() {
    if (!data || !grid.clientHeight) return;
    const first = topRow();
    const count = Math.min(total, PACKETS_IN_SIGHT, Math.ceil(inner() / PACKETS_ROW) + 2);
    while (nodes.length > count) nodes.pop().remove();
    while (nodes.length < count) space.append(nodes[nodes.push(makeRow()) - 1]);
    const start = Math.max(0, Math.min(Math.floor(first), total - count));
    for (let index = start; index < start + count; index += 1) fill(nodes[index - start], index, scaled() ? grid.scrollTop + (index - first) * PACKETS_ROW : index * PACKETS_ROW);
    const inSight = active >= start && active < start + count;
    setAttrs(grid, { "aria-activedescendant": inSight && total ? host.id(`packets-row-${active}`) : null });
    let from = start;
    while (from < start + count && !isWanted(from)) from += 1;
    if (from < start + count) fetchRows(Math.max(0, start - PACKETS_AHEAD), count + 2 * PACKETS_AHEAD);
  }

  /** One question at a time: while rows fly past, only those that stay are asked for. */
  async function fetchRows(start, count) {
    if (busy) return;
    busy = true;
    const asking = `${key} ${age}`;
    let more = true;
    try {
      take(await host.ask("packets.rows", { capture: data.capture, filter: filterOf(data), start, count }), asking);
    } catch (error) {
      more = asking !== `${key} ${age}`;
      host.say(error.message);
    }
    busy = false;
    if (more) draw();
  }

  function take(reply, asking) {
    if (asking !== `${key} ${age}` || reply.serial !== data.serial) return;
    if (known.size > PACKETS_KEPT) known.clear();
    reply.rows.forEach((row, place) => known.set(reply.start + place, { row, age, settled: row[0] < reply.first + reply.numbered }));
    if (held) grow();
    if (waiting !== null && rowAt(waiting)) {
      const n = rowAt(waiting)[0];
      waiting = null;
      on.pick(n);
    }
  }

  function stretch(rows) {
    total = rows;
    setAttrs(grid, { "aria-rowcount": total + 1 });
    space.style.height = `${tall()}px`;
    active = Math.max(0, Math.min(active, total - 1));
  }

  /** Following the end, the table grows when the last rows have come: what is in sight is never empty. */
  function grow() {
    let rows = data.matching;
    while (rows > total && !known.has(rows - 1)) rows -= 1;
    stretch(rows);
    grid.scrollTop = grid.scrollHeight;
  }

  function sight(index, middle) {
    const first = topRow();
    const count = rowsInSight();
    if (!middle && index >= first && index + 1 <= first + inner() / PACKETS_ROW) return;
    const wanted = middle ? index - count / 2 : index < first ? index : index + 1 - inner() / PACKETS_ROW;
    grid.scrollTop = scrollFor(Math.max(0, Math.min(wanted, total - inner() / PACKETS_ROW)));
  }

  function move(index) {
    if (!total) return;
    on.moved();
    active = Math.max(0, Math.min(total - 1, index));
    waiting = active;
    sight(active, false);
    const row = rowAt(active);
    if (row) {
      waiting = null;
      on.pick(row[0]);
    }
    draw();
  }

  const filterOf = (given) => (given.wrong ? "" : given.filter);
  grid.addEventListener("scroll", draw);
  grid.addEventListener("wheel", (event) => event.deltaY < 0 && on.moved(), { passive: true });
  grid.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: rowsInSight(), PageUp: -rowsInSight() };
    if (event.key in steps) move(chosen === null && rowAt(active) && event.key.startsWith("Arrow") ? active : active + steps[event.key]);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(total - 1);
    else if (event.key === "Enter" || event.key === " ") {
      if (rowAt(active) && rowAt(active)[0] !== chosen) move(active);
      else on.enter();
    } else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(grid);

  return {
    root: grid,
    focus: () => grid.focus(),
    filter: () => filterOf(data),
    serial: () => data?.serial ?? 0,
    follow(wanted) {
      held = wanted;
      if (data) stretch(data.matching);
      if (held) grid.scrollTop = grid.scrollHeight;
    },
    select(n) {
      chosen = n;
      draw();
    },
    /** Go to frame `n`, or the next that is shown; its number, null when there is none. */
    async goTo(n) {
      const asking = `${key} ${age}`;
      const reply = await host.ask("packets.rows", { capture: data.capture, filter: filterOf(data), n, count: PACKETS_PAGE });
      if (asking !== `${key} ${age}` || reply.at === null || !reply.rows.length) return null;
      take(reply, asking);
      active = reply.at;
      waiting = null;
      sight(active, Math.abs(topRow() - active) > rowsInSight());
      draw();
      return rowAt(active)?.[0] ?? null;
    },
    /** Take what is known now; true when these are other rows than before. */
    update(given) {
      const next = JSON.stringify([given.capture, filterOf(given), given.serial]);
      const before = data;
      data = given;
      const others = next !== key;
      if (others) {
        key = next;
        known.clear();
        total = active = 0;
        waiting = null;
        grid.scrollTop = 0;
      } else if (before.first !== given.first || given.matching < total) {
        age += 1;
      }
      if (held && given.matching > total) fetchRows(Math.max(0, given.matching - PACKETS_IN_SIGHT), PACKETS_IN_SIGHT);
      else stretch(given.matching);
      draw();
      return others;
    },
  };
}
