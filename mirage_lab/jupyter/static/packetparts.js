// packetparts: one frame: its layers as a tree, its bytes, and its causes.  Fields and bytes light each other up.

import { button, eachRow, el, setAttrs, setText, showCount } from "./dom.js";

const PACKET_BYTES = 1536;
const PACKET_HINT = "Choose a frame: its layers, its bytes and what caused it are shown here. In the table arrow keys choose, Enter goes on to the fields, Escape comes back.";

/** A moment as the table writes it, to the microsecond. */
function packetTime(ns) {
  return `${(ns / 1e9).toFixed(6)} s`;
}

/** The frame that is chosen.  `choose(n)` goes to another one, `back()` returns to the table. */
export function packetDetails(host, choose, back) {
  const title = el("h3", { class: "ml-pk-title" });
  const lines = el("p", { class: "ml-pk-lines" });
  const told = el("p", { class: "ml-hint ml-pk-told" });
  const tree = el("ul", { class: "ml-pk-tree", role: "tree", "aria-label": "layers and fields of the frame" });
  const hex = el("div", { class: "ml-pk-hex", role: "grid", "aria-label": "bytes of the frame" });
  const earlier = button("earlier bytes", () => turn(-1));
  const later = button("later bytes", () => turn(1));
  const pageWords = el("span", { class: "ml-hint" });
  const pages = el("div", { class: "ml-bar", hidden: true }, earlier, later, pageWords);
  const story = el("ol", { class: "ml-pk-story" });
  const chain = el("ol", { class: "ml-pk-chain" });
  const chainWords = el("summary", {});
  const body = el(
    "div",
    { hidden: true },
    title,
    lines,
    el(
      "div",
      { class: "ml-pk-both" },
      el("div", { class: "ml-pk-layers ml-scroll" }, tree),
      el("div", { class: "ml-pk-bytes" }, el("div", { class: "ml-scroll" }, hex), pages, told),
    ),
    el("h4", {}, "From its cause to where it went"),
    story,
    el("details", { class: "ml-pk-more" }, chainWords, chain),
  );
  const hint = el("p", { class: "ml-hint" }, PACKET_HINT);
  const root = el("div", { class: "ml-pk-details", role: "group", "aria-label": "the chosen frame" }, hint, body);
  let data = null;
  let fields = [];
  let owner = [];
  let cells = [];
  let from = 0;
  let pinned = null;
  let shut = new Set();

  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    back();
  });

  // fields and bytes ------------------------------------------------------------------------------------------------

  /** Every layer and field with its place; each byte belongs to the innermost one. */
  function index() {
    fields = [];
    owner = new Array(data.hex.length / 2).fill(null);
    data.layers.forEach((layer, number) => {
      fields.push({ key: `${number}`, layer: number, name: layer.name, value: "", at: layer.offset, size: layer.length });
      layer.fields.forEach((field, place) => fields.push({ key: `${number}.${place}`, layer: number, name: field.name, value: field.value, at: field.offset, size: field.length }));
    });
    for (const field of fields) {
      for (let at = field.at; at < Math.min(field.at + field.size, owner.length); at += 1) {
        if (!owner[at] || field.size <= owner[at].size) owner[at] = field;
      }
    }
  }

  function lit(field) {
    cells.forEach((pair, at) => {
      const inside = field && at >= field.at && at < field.at + field.size ? "yes" : null;
      pair.forEach((node) => setAttrs(node, { "data-lit": inside }));
    });
    for (const node of tree.querySelectorAll("[data-key]")) setAttrs(node, { "data-lit": field && node.dataset.key === field.key ? "yes" : null });
    if (!field) setText(told, "Choose a field or a byte: arrow keys move, and the other side lights up.");
    else if (!field.size) setText(told, `${field.name}: no byte`);
    else {
      const where = field.size === 1 ? `byte ${field.at}` : `bytes ${field.at} to ${field.at + field.size - 1}`;
      const layer = data.layers[field.layer].name;
      setText(told, `${field.name === layer ? layer : `${layer}, ${field.name}`}: ${where}${field.value ? `, ${field.value}` : ""}`);
    }
  }

  function litByte(at) {
    lit(owner[at]);
    if (!owner[at]) setText(told, `byte ${at}: in no field; what follows the last header, or fills the frame up`);
  }

  function pin(field) {
    pinned = field;
    for (const node of tree.querySelectorAll('[role="treeitem"]')) setAttrs(node, { "aria-selected": field && node.dataset.key === field.key ? "true" : "false" });
    lit(field);
  }

  const fieldOf = (key) => fields.find((field) => field.key === key) ?? null;

  // the tree --------------------------------------------------------------------------------------------------------

  function showTree() {
    const label = (name, value) => el("span", { class: "ml-pk-label" }, el("span", { class: "ml-pk-name" }, name), value ? " " : null, value ? el("span", { class: "ml-pk-value" }, value) : null);
    const item = (key, name, value, ...more) => el("li", { role: "treeitem", class: "ml-pk-item", tabindex: "-1", "data-key": key, "aria-selected": "false" }, label(name, value), ...more);
    tree.replaceChildren(
      ...data.layers.map((layer, number) => {
        const inner = el("ul", { role: "group" }, ...layer.fields.map((field, place) => item(`${number}.${place}`, field.name, field.value)));
        const node = item(`${number}`, layer.name, `${layer.length} bytes`, inner);
        setAttrs(node, { "aria-expanded": shut.has(layer.name) ? "false" : "true", "data-layer": "yes" });
        return node;
      }),
    );
    tree.querySelector('[role="treeitem"]')?.setAttribute("tabindex", "0");
  }

  function open(node, wanted) {
    const layer = data.layers[Number(node.dataset.key)].name;
    setAttrs(node, { "aria-expanded": wanted ? "true" : "false" });
    if (wanted) shut.delete(layer);
    else shut.add(layer);
  }

  const seen = () => [...tree.querySelectorAll('[role="treeitem"]')].filter((node) => !node.parentElement.closest('[aria-expanded="false"]'));

  tree.addEventListener("focusin", (event) => {
    const node = event.target.closest('[role="treeitem"]');
    if (!node) return;
    tree.querySelectorAll('[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
    node.setAttribute("tabindex", "0");
    const field = fieldOf(node.dataset.key);
    if (field && field.at < owner.length) page(field.at);
    pin(field);
    cells[field?.at]?.[0].scrollIntoView({ block: "nearest" });
  });
  tree.addEventListener("click", (event) => {
    const node = event.target.closest('[role="treeitem"]');
    if (!node) return;
    if (node.dataset.layer && document.activeElement === node) open(node, node.getAttribute("aria-expanded") === "false");
    node.focus();
  });
  tree.addEventListener("keydown", (event) => {
    const node = event.target.closest('[role="treeitem"]');
    if (!node) return;
    const all = seen();
    const at = all.indexOf(node);
    let next = null;
    if (event.key === "ArrowDown") next = all[at + 1];
    else if (event.key === "ArrowUp") next = all[at - 1];
    else if (event.key === "Home") next = all[0];
    else if (event.key === "End") next = all.at(-1);
    else if (event.key === "ArrowLeft") {
      if (node.dataset.layer && node.getAttribute("aria-expanded") === "true") open(node, false);
      else next = node.parentElement.closest('[role="treeitem"]');
    } else if (event.key === "ArrowRight") {
      if (node.dataset.layer && node.getAttribute("aria-expanded") === "false") open(node, true);
      else if (node.dataset.layer) next = all[at + 1];
    } else if ((event.key === "Enter" || event.key === " ") && node.dataset.layer) open(node, node.getAttribute("aria-expanded") === "false");
    else return;
    event.preventDefault();
    next?.focus();
  });
  tree.addEventListener("mouseover", (event) => lit(fieldOf(event.target.closest("[data-key]")?.dataset.key) ?? pinned));
  tree.addEventListener("mouseleave", () => lit(pinned));

  // the bytes -------------------------------------------------------------------------------------------------------

  function showBytes() {
    const end = Math.min(from + PACKET_BYTES, owner.length);
    const rows = [];
    cells = [];
    for (let at = from; at < end; at += 16) {
      const codes = el("div", { class: "ml-pk-codes", role: "presentation" });
      const words = el("span", { role: "gridcell", class: "ml-pk-chars" });
      for (let place = at; place < Math.min(at + 16, end); place += 1) {
        const byte = data.hex.slice(2 * place, 2 * place + 2);
        const code = Number.parseInt(byte, 16);
        const cell = el("span", { role: "gridcell", class: "ml-pk-byte", tabindex: "-1", "data-at": place, "aria-label": `byte ${place}, ${byte}, ${owner[place]?.name ?? "no field"}` }, byte);
        const letter = el("span", { "data-at": place }, code >= 32 && code < 127 ? String.fromCharCode(code) : ".");
        cells[place] = [cell, letter];
        codes.append(cell);
        words.append(letter);
      }
      rows.push(el("div", { role: "row", class: "ml-pk-hexrow" }, el("span", { role: "rowheader", class: "ml-pk-at" }, at.toString(16).padStart(4, "0")), codes, words));
    }
    hex.replaceChildren(...rows);
    cells[from]?.[0].setAttribute("tabindex", "0");
    pages.hidden = owner.length <= PACKET_BYTES;
    earlier.disabled = from === 0;
    later.disabled = end >= owner.length;
    setText(pageWords, `bytes ${showCount(from)} to ${showCount(end - 1)} of ${showCount(owner.length)}`);
  }

  function page(at) {
    const start = at - (at % PACKET_BYTES);
    if (start === from) return;
    from = start;
    showBytes();
  }

  function turn(step) {
    page(Math.max(0, Math.min(owner.length - 1, from + step * PACKET_BYTES)));
    lit(pinned);
  }

  const byteAt = (event) => {
    const at = event.target.closest("[data-at]")?.dataset.at;
    return at === undefined ? null : Number(at);
  };
  hex.addEventListener("focusin", (event) => {
    const at = byteAt(event);
    if (at === null) return;
    hex.querySelectorAll('[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
    cells[at][0].setAttribute("tabindex", "0");
    const field = owner[at];
    pin(field);
    litByte(at);
    const node = field && tree.querySelector(`[data-key="${field.key}"]`);
    if (!node) return;
    const layer = node.parentElement.closest('[role="treeitem"]');
    if (layer) open(layer, true);
    node.querySelector(".ml-pk-label").scrollIntoView({ block: "nearest" });
  });
  hex.addEventListener("click", (event) => {
    const at = byteAt(event);
    if (at !== null) cells[at][0].focus();
  });
  hex.addEventListener("mouseover", (event) => {
    const at = byteAt(event);
    if (at === null) lit(pinned);
    else litByte(at);
  });
  hex.addEventListener("mouseleave", () => lit(pinned));
  hex.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 };
    const at = byteAt(event);
    if (at === null || !(event.key in steps || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    const next = event.key === "Home" ? 0 : event.key === "End" ? owner.length - 1 : at + steps[event.key];
    if (next < 0 || next >= owner.length) return;
    page(next);
    cells[next][0].focus();
  });

  // the causes ------------------------------------------------------------------------------------------------------

  const toEvent = (id) => host.look({ tab: "boot", "boot.event": id });

  function showStory() {
    story.replaceChildren(
      ...data.story.map((step) =>
        el(
          "li",
          { class: "ml-pk-step", "data-what": step.what },
          el("span", { class: "ml-pk-what" }, step.what),
          el("span", { class: "ml-time" }, step.t === null ? "" : packetTime(step.t)),
          el(
            "span",
            {},
            step.words,
            step.frame ? " " : null,
            step.frame ? button(`frame ${showCount(step.frame)}`, () => choose(step.frame), { class: "ml-button ml-pk-link" }) : null,
            step.event ? " " : null,
            step.event ? button(`event ${step.event}`, () => toEvent(step.event), { class: "ml-button ml-pk-link", title: "show it in the timeline of the Boot tab" }) : null,
          ),
        ),
      ),
    );
    const ends = { outside: "from there on it is the outside: a timer, a command, a program of this computer", more: "and so on, back to the beginning", dropped: "older events are no longer kept" };
    setText(chainWords, `All that led to it, nearest first: ${showCount(data.chain.length)} events${data.end === "more" ? " and more" : ""}`);
    eachRow(
      chain,
      data.chain,
      (event) => event.id,
      () => el("li", {}, el("span", { class: "ml-time" }), " ", el("span", {}), " ", el("span", { class: "ml-mono" })),
      (node, event) => {
        setText(node.children[0], packetTime(event.t));
        setText(node.children[1], `${event.source} ${event.kind}`);
        setText(node.children[2], event.words);
      },
    );
    chain.append(el("li", { class: "ml-hint ml-pk-end" }, ends[data.end] ?? ""));
    [...chain.querySelectorAll(".ml-pk-end")].slice(0, -1).forEach((node) => node.remove());
  }

  return {
    root,
    focus: () => (body.hidden ? null : tree.querySelector('[tabindex="0"]')?.focus()),
    /** Show a frame, or (null) none with `words` saying why. */
    show(packet, words) {
      const same = data && packet && data.n === packet.n && data.hex === packet.hex;
      data = packet;
      body.hidden = !packet;
      hint.hidden = Boolean(packet);
      if (!packet) {
        setText(hint, words ?? PACKET_HINT);
        return;
      }
      setText(title, `Frame ${showCount(packet.n)}: ${packet.protocol}, ${showCount(packet.length)} bytes, t = ${packetTime(packet.t)}, ${packet.fate}`);
      lines.replaceChildren(...packet.lines.flatMap((line, place) => [place ? " " : "", el("code", {}, line)]));
      if (!same) {
        index();
        from = 0;
        showTree();
        showBytes();
        pin(null);
      }
      showStory();
    },
  };
}
