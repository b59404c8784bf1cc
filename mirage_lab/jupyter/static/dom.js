// dom: elements from plain data.  Children are nodes or words; words become text nodes, never markup.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

export function el(tag, attrs, ...children) {
  return dress(document.createElement(tag), attrs, children);
}

export function svg(tag, attrs, ...children) {
  return dress(document.createElementNS(SVG_NAMESPACE, tag), attrs, children);
}

function dress(node, attrs, children) {
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (name === "on") {
      for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    } else if (name === "style") {
      Object.assign(node.style, value);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

/** Set the words of a node if they changed: an unchanged node keeps selection and is not read out again. */
export function setText(node, words) {
  const text = String(words);
  if (node.textContent !== text) node.textContent = text;
}

/** Set or (null, undefined, false) remove attributes that changed. */
export function setAttrs(node, attrs) {
  for (const [name, value] of Object.entries(attrs)) {
    if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * Make the children of `parent` those of `rows`, in order, reusing what is there.
 * `key(row)` names a row for good; `make(row)` returns its node; `fill(node, row)` brings it up to date.
 */
export function eachRow(parent, rows, key, make, fill) {
  const kept = (parent.mlRows ??= new Map());
  const wanted = new Set();
  let place = parent.firstChild;
  for (const row of rows) {
    const name = String(key(row));
    if (wanted.has(name)) continue;
    wanted.add(name);
    let node = kept.get(name);
    if (!node) kept.set(name, (node = make(row)));
    fill?.(node, row);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const [name, node] of kept) {
    if (!wanted.has(name)) {
      node.remove();
      kept.delete(name);
    }
  }
}

/** A button that says what it does; `words` is its name for everyone. */
export function button(words, act, attrs) {
  return el("button", { type: "button", class: "ml-button", ...attrs, on: { click: act } }, words);
}

/** A labelled control: the label's words and the control belong together. */
export function labelled(words, control, attrs) {
  return el("label", { class: "ml-labelled", ...attrs }, el("span", {}, words), control);
}

/** Arrow keys move among the children that `selector` names; exactly one of them is in the tab order. */
export function roving(parent, selector, keys = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }) {
  const items = () => [...parent.querySelectorAll(selector)];
  parent.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(event.target.closest(selector));
    if (at < 0) return;
    let next = null;
    if (event.key in keys) next = all[(at + keys[event.key] + all.length) % all.length];
    else if (event.key === "Home") next = all[0];
    else if (event.key === "End") next = all[all.length - 1];
    if (!next) return;
    event.preventDefault();
    all.forEach((item) => item.setAttribute("tabindex", item === next ? "0" : "-1"));
    next.focus();
  });
  parent.addEventListener("focusin", (event) => {
    const found = event.target.closest(selector);
    if (found) items().forEach((item) => item.setAttribute("tabindex", item === found ? "0" : "-1"));
  });
}

/** Nanoseconds as the lab writes times: 1.000 s, 2.500 ms, 3.0 us. */
export function showTime(ns) {
  if (ns === 0) return "0";
  const size = Math.abs(ns);
  if (size < 1e3) return `${ns} ns`;
  if (size < 1e6) return `${trim(ns / 1e3)} us`;
  if (size < 1e9) return `${trim(ns / 1e6)} ms`;
  return `${(ns / 1e9).toFixed(3)} s`;
}

function trim(value) {
  return String(Number(value.toFixed(3)));
}

export function showCount(value) {
  return Number(value).toLocaleString("en-US");
}
