// graph: the device graph.  A node is a button: its state as shape and word, its counters, and what it is when chosen.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showCount, svg } from "./dom.js";

const GRAPH_ROW = 13;

export function graphView(host) {
  const chosen = el("select", { on: { change: (event) => host.look({ "graph.domain": event.target.value, "graph.selected": null }) } });
  const state = el("span", { class: "ml-state" });
  const title = svg("title", {}, "device graph");
  const desc = svg("desc", {});
  const edges = svg("g", { class: "ml-graph-edges" });
  const nodes = svg("g", { class: "ml-graph-nodes", role: "list" });
  const drawing = svg("svg", { class: "ml-graph-drawing", role: "group", "aria-label": "device graph" }, title, desc, edges, nodes);
  const detail = el("div", { class: "ml-graph-detail", role: "region", "aria-label": "the chosen device", tabindex: "-1" });
  const hint = el("p", { class: "ml-hint" }, "Choose a device: click it, or move with the arrow keys and press Enter.");
  const root = el(
    "div",
    { class: "ml-graph" },
    el("div", { class: "ml-bar" }, labelled("domain", chosen), state),
    el("div", { class: "ml-graph-both" }, el("div", { class: "ml-graph-scroll" }, drawing), el("div", { class: "ml-graph-side" }, hint, detail)),
  );
  roving(nodes, ".ml-graph-node");
  let traffic = new Map();
  let detailShown = null;

  function choose(id, again) {
    host.look({ "graph.selected": again === id ? null : id });
  }

  function makeNode(node) {
    const group = svg(
      "g",
      {
        class: "ml-graph-node",
        role: "button",
        tabindex: "-1",
        "data-node": node.id,
        on: {
          click: () => choose(node.id, null),
          keydown: (event) => {
            if (event.key === "Enter" || event.key === " ") {
              event.preventDefault();
              choose(node.id, null);
            }
          },
        },
      },
      svg("rect", { rx: 6 }),
      svg("text", { class: "ml-graph-name", "text-anchor": "middle" }),
      svg("text", { class: "ml-graph-type", "text-anchor": "middle" }),
      svg("g", { class: "ml-graph-counters" }),
    );
    return svg("g", { role: "listitem" }, group);
  }

  function fillNode(item, node, selected) {
    const group = item.firstChild;
    const [rect, name, type, counters] = group.children;
    setAttrs(group, {
      "data-state": node.state,
      "aria-pressed": node.id === selected ? "true" : "false",
      "aria-label": [`${node.id}, ${node.type}, ${node.state}`, ...node.counters.map(([label, value]) => `${showCount(value)} ${label}`)].join(", "),
    });
    setAttrs(rect, { x: node.x, y: node.y, width: node.w, height: node.tall });
    const middle = node.x + node.w / 2;
    setAttrs(name, { x: middle, y: node.y + 18 });
    setText(name, node.id);
    setAttrs(type, { x: middle, y: node.y + 33 });
    setText(type, `${node.mark} ${node.state} · ${node.type}`);
    eachRow(
      counters,
      node.counters.map(([label, value], place) => ({ label, value, place })),
      (row) => row.label,
      () => svg("text", { class: "ml-graph-counter", "text-anchor": "middle" }),
      (text, row) => {
        setAttrs(text, { x: middle, y: node.y + 48 + GRAPH_ROW * row.place, "data-counter": row.label });
        setText(text, `${showCount(row.value)} ${row.label}`);
      },
    );
  }

  /** Rows of boxes grow by the counters they carry; everything below moves down as far. */
  function stretched(graph) {
    const rows = [...new Set(graph.nodes.map((node) => node.y))].sort((a, b) => a - b);
    const extra = rows.map((y) => Math.max(0, ...graph.nodes.filter((node) => node.y === y).map((node) => node.counters.length)) * GRAPH_ROW);
    const shift = (y) => rows.reduce((sum, row, index) => sum + (row < y - 1 ? extra[index] : 0), 0);
    const bottom = new Map(graph.nodes.map((node) => [node.id, shift(node.y) + node.y + node.h + node.counters.length * GRAPH_ROW]));
    return {
      width: Math.max(graph.width, 300),
      height: graph.height + extra.reduce((sum, each) => sum + each, 0),
      nodes: graph.nodes.map((node) => ({ ...node, y: node.y + shift(node.y), tall: node.h + node.counters.length * GRAPH_ROW })),
      edges: graph.edges.map((edge) => ({
        ...edge,
        points: edge.points.map(([x, y], index) => (index === 0 ? [x, bottom.get(edge.from)] : [x, y + shift(y)])),
      })),
    };
  }

  function fillEdge(group, edge) {
    const [line, label] = group.children;
    const last = edge.points.length - 1;
    setAttrs(line, { d: edge.points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${index === last ? y - 3 : y}`).join("") });
    const moved = traffic.has(edge.key) && traffic.get(edge.key) !== edge.traffic;
    setAttrs(group, { "data-moving": moved ? "yes" : null, "data-used": edge.traffic ? "yes" : null });
    const [[x1, y1], [x2, y2]] = edge.points.slice(-2);
    setAttrs(label, { x: (x1 + x2) / 2 + 6, y: (y1 + y2) / 2 + 4 });
    setText(label, edge.traffic ? showCount(edge.traffic) : "");
  }

  function fillDetail(selected) {
    const told = JSON.stringify(selected);
    if (told === detailShown) return;
    detailShown = told;
    if (!selected) {
      detail.replaceChildren();
      return;
    }
    const rows = (pairs, kind) =>
      el("table", { class: "ml-facts" }, el("tbody", {}, ...pairs.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { "data-fact": name }, kind(value))))));
    const parts = [
      el("h3", {}, `${selected.id}: ${selected.type}`),
      el("p", { class: "ml-graph-signature" }, selected.signature),
      rows(selected.facts, String),
      selected.operations.length ? el("details", {}, el("summary", {}, `${selected.operations.length} operations of ${selected.type}`), el("ul", { class: "ml-mono" }, ...selected.operations.map((line) => el("li", {}, line)))) : null,
      selected.statistics.length ? el("h4", {}, "Statistics") : null,
      selected.statistics.length ? rows(selected.statistics, showCount) : null,
      button("close", () => choose(null, null), { "aria-label": "close the chosen device" }),
    ];
    detail.replaceChildren(...parts.filter((part) => part !== null)); // to the DOM null is a word
  }

  return {
    root,
    update(data) {
      const domains = data.domains ?? [];
      eachRow(chosen, domains, (name) => name, (name) => el("option", { value: name }, name));
      if (data.domain && chosen.value !== data.domain) chosen.value = data.domain;
      chosen.parentNode.hidden = !domains.length;
      setText(state, data.state ?? "");
      if (!data.graph || !data.graph.nodes.length) {
        drawing.style.display = "none";
        setText(hint, data.hint ?? "No domain yet: lab.create(image) makes one.");
        fillDetail(null);
        return;
      }
      drawing.style.display = "";
      const graph = stretched(data.graph);
      setAttrs(drawing, { viewBox: `0 0 ${graph.width} ${graph.height}`, width: graph.width, height: graph.height });
      setText(desc, graph.nodes.map((node) => `${node.id} is ${node.state}`).join("; "));
      const selected = data.selected?.id ?? null;
      const keyed = graph.edges.map((edge) => ({ ...edge, key: `${edge.from}\n${edge.to}\n${edge.hole}` }));
      const makeEdge = () => svg("g", { class: "ml-graph-edge" }, svg("path", { fill: "none" }), svg("text", {}));
      eachRow(edges, keyed, (edge) => edge.key, makeEdge, fillEdge);
      traffic = new Map(keyed.map((edge) => [edge.key, edge.traffic]));
      eachRow(nodes, graph.nodes, (node) => node.id, makeNode, (item, node) => fillNode(item, node, selected));
      const focusable = nodes.querySelector('.ml-graph-node[tabindex="0"]');
      if (!focusable) nodes.querySelector(".ml-graph-node")?.setAttribute("tabindex", "0");
      fillDetail(data.selected);
      setText(hint, data.selected ? "" : "Choose a device: click it, or move with the arrow keys and press Enter.");
      hint.hidden = Boolean(data.selected);
    },
  };
}
