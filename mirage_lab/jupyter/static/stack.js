// stack: the layers of a stack, its connections and the state they are in, and the faults of a lan as sliders.

import { eachRow, el, labelled, setAttrs, setText, showCount, showTime, svg } from "./dom.js";

const STACK_COLUMNS = [
  ["state", "state", (row) => row.state],
  ["phase", "phase", (row) => row.phase],
  ["cwnd", "cwnd", (row) => showCount(row.cwnd)],
  ["ssthresh", "ssthresh", (row) => (row.ssthresh === null ? "not yet" : showCount(row.ssthresh))],
  ["flight", "flight", (row) => showCount(row.flight)],
  ["window", "window", (row) => showCount(row.window)],
  ["rto", "RTO", (row) => showTime(row.rto)],
  ["srtt", "SRTT", (row) => (row.srtt === null ? "not yet" : showTime(row.srtt))],
  ["retransmitted", "resent", (row) => showCount(row.retransmitted)],
];

/** So long a slider stays where it was put though the snapshots that come were taken before its command. */
const STACK_PATIENCE_MS = 1000;

export function stackView(host) {
  const chosen = el("select", { on: { change: (event) => host.look({ "stack.domain": event.target.value, "stack.connection": null }) } });
  const address = el("span", { class: "ml-mono" });
  const listening = el("span", {});
  const layers = el("ol", { class: "ml-st-layers", "aria-label": "layers, the application above, the wire below" });
  const states = stackStates();
  const connections = stackConnections(host);
  const faults = stackFaults(host);
  const nothing = el("p", { class: "ml-hint" }, "No stack yet: a unikernel with a STACKV4 has one once it runs, and each lan has the gateway's.");
  const all = el(
    "div",
    {},
    el(
      "div",
      { class: "ml-st-both" },
      el("div", {}, el("h3", {}, "Layers"), layers),
      el("div", {}, el("h3", {}, "States of its connections"), el("div", { class: "ml-st-scroll", tabindex: "0", role: "region", "aria-label": "state diagram" }, states.root)),
    ),
    connections.root,
  );
  const root = el("div", { class: "ml-st" }, el("div", { class: "ml-bar" }, labelled("stack of", chosen), address, listening), nothing, all, faults.root);

  function fillLayer(item, row) {
    const [head, counts, drops] = item.children;
    setText(head.children[0], row.name);
    setText(head.children[1], row.in === null ? "" : `${showCount(row.in)} in`);
    setText(head.children[2], row.out === null ? "" : `${showCount(row.out)} out`);
    setAttrs(head.children[1], { "data-counter": `${row.name} in` });
    setAttrs(head.children[2], { "data-counter": `${row.name} out` });
    setText(counts, row.counts.map(([label, value]) => `${label} ${showCount(value)}`).join(" · "));
    eachRow(
      drops,
      row.drops,
      ([why]) => why,
      () => el("li", {}),
      (drop, [why, count]) => setText(drop, `✕ ${showCount(count)} dropped: ${why}`),
    );
  }

  return {
    root,
    update(data) {
      eachRow(chosen, data.stacks, (name) => name, (name) => el("option", { value: name }, name));
      if (data.stack !== null && document.activeElement !== chosen && chosen.value !== data.stack) chosen.value = data.stack;
      const there = data.stack !== null;
      chosen.parentNode.hidden = !there;
      nothing.hidden = there;
      all.hidden = !there;
      setText(address, there ? data.address : "");
      setText(listening, there ? `listening on ${data.listening.join(", ") || "nothing"}` : "");
      if (there) {
        const makeLayer = () =>
          el("li", { class: "ml-st-layer" }, el("div", { class: "ml-st-head" }, el("strong", {}), el("span", {}), el("span", {})), el("div", { class: "ml-st-counts" }), el("ul", { class: "ml-st-drops" }));
        eachRow(layers, data.layers, (row) => row.name, makeLayer, fillLayer);
        states.update(data);
        connections.update(data);
      }
      faults.update(data);
    },
  };
}

/** The state diagram: arrows and words never change, the boxes are lit. */
function stackStates() {
  const title = svg("title", {}, "states of TCP connections");
  const desc = svg("desc", {});
  const edges = svg("g", {});
  const nodes = svg("g", {});
  const note = svg("text", { class: "ml-st-word" });
  const root = svg("svg", { class: "ml-st-states", role: "img", "aria-label": "states of TCP connections" }, title, desc, edges, nodes, note);
  let drawn = false;

  function draw(diagram) {
    drawn = true;
    setAttrs(root, { viewBox: `0 0 ${diagram.width} ${diagram.height + 22}`, width: diagram.width, height: diagram.height + 22 });
    for (const edge of diagram.edges) {
      const [[x1, y1], [x2, y2]] = edge.points.slice(-2);
      const length = Math.hypot(x2 - x1, y2 - y1) || 1;
      const [ux, uy] = [((x2 - x1) / length) * 6, ((y2 - y1) / length) * 6];
      edges.append(
        svg("path", { class: "ml-st-arrow", fill: "none", d: `M${edge.points.map(([x, y]) => `${x} ${y}`).join("L")}` }),
        svg("path", { class: "ml-st-tip", d: `M${x2} ${y2}L${x2 - ux - uy / 2} ${y2 - uy + ux / 2}L${x2 - ux + uy / 2} ${y2 - uy - ux / 2}Z` }),
      );
    }
    for (const edge of diagram.edges) {
      const [x, y] = edge.label;
      edges.append(svg("text", { class: "ml-st-word", x, y: y + 1, "text-anchor": "middle" }, edge.words));
    }
    const [width, height] = diagram.box;
    for (const node of diagram.nodes) {
      nodes.append(
        svg(
          "g",
          { class: "ml-st-state", "data-state": node.id },
          svg("rect", { x: node.x, y: node.y, width, height, rx: 8 }),
          svg("text", { x: node.x + width / 2, y: node.y + 21, "text-anchor": "middle" }, node.state),
          svg("text", { class: "ml-st-count", x: node.x + width / 2, y: node.y + 29, "text-anchor": "middle" }),
        ),
      );
    }
    setAttrs(note, { x: 12, y: diagram.height + 12 });
    setText(note, diagram.note);
  }

  return {
    root,
    update(data) {
      if (!drawn) draw(data.diagram);
      const mine = data.connections.find((row) => row.id === data.selected)?.state;
      for (const node of nodes.children) {
        const state = node.dataset.state;
        const count = data.lit[state] ?? 0;
        const [, name, words] = node.children;
        setAttrs(node, { "data-lit": count ? "yes" : null, "data-mine": count && state === mine ? "yes" : null });
        setAttrs(name, { y: Number(node.firstChild.getAttribute("y")) + (count ? 15 : 21) });
        setText(words, count ? `● ${showCount(count)} connection${count === 1 ? "" : "s"}${state === mine ? " ◀" : ""}` : "");
      }
      setText(desc, Object.entries(data.lit).map(([state, count]) => `${count} in ${state}`).join(", ") || "no connection");
    },
  };
}

/** The connections: a row each; the button of a row chooses it, and its state is marked in the diagram. */
function stackConnections(host) {
  const body = el("tbody", {});
  const head = el("tr", {}, el("th", { scope: "col" }, "local ↔ remote"), ...STACK_COLUMNS.map(([, words]) => el("th", { scope: "col" }, words)), el("th", { scope: "col" }, "unacked"), el("th", { scope: "col" }, "unread"));
  const table = el("table", { class: "ml-st-table" }, el("thead", {}, head), body);
  const more = el("p", { class: "ml-hint" });
  const root = el("div", {}, el("h3", {}, "TCP connections"), el("div", { class: "ml-st-scroll", tabindex: "0", role: "region", "aria-label": "TCP connections" }, table), more);
  let selected = null;

  function gauge() {
    return el("td", {}, el("meter", { min: "0", low: "0" }), el("span", {}));
  }

  function fillGauge(cell, what, [fill, size]) {
    const [meter, words] = cell.children;
    setAttrs(meter, { max: size, value: fill, "aria-label": what, title: `${showCount(fill)} of ${showCount(size)} bytes` });
    setText(words, ` ${showCount(fill)}`);
  }

  function make(row) {
    const choose = el("button", { type: "button", class: "ml-st-choose", on: { click: () => host.look({ "stack.connection": selected === row.id ? null : row.id }) } });
    return el("tr", {}, el("th", { scope: "row" }, choose), ...STACK_COLUMNS.map(([name]) => el("td", { "data-value": name })), gauge(), gauge());
  }

  function fill(item, row) {
    const cells = [...item.children];
    const on = row.id === selected;
    setAttrs(item, { "data-chosen": on ? "yes" : null });
    setText(cells[0].firstChild, `${row.local} ↔ ${row.remote}`);
    setAttrs(cells[0].firstChild, { "aria-pressed": on ? "true" : "false" });
    STACK_COLUMNS.forEach(([, , words], place) => setText(cells[place + 1], words(row)));
    fillGauge(cells.at(-2), "send buffer", row.send);
    fillGauge(cells.at(-1), "receive buffer", row.receive);
  }

  return {
    root,
    update(data) {
      selected = data.selected;
      eachRow(body, data.connections, (row) => row.id, make, fill);
      table.hidden = !data.connections.length;
      setText(more, data.more ? `${showCount(data.more)} older connections are not shown` : data.connections.length ? "" : "no connection at the moment");
    },
  };
}

/** What a lan does to frames.  A slider is heard when it is let go: each change is a command at one exact virtual time. */
function stackFaults(host) {
  const lan = el("select", { on: { change: (event) => host.look({ "stack.lan": event.target.value }) } });
  const rows = el("div", { class: "ml-st-faults" });
  const lost = el("p", { class: "ml-hint" });
  const root = el("fieldset", { class: "ml-st-lan" }, el("legend", {}, "What a lan does to frames"), labelled("lan", lan), rows, lost);
  let chosen = null;

  function make(row) {
    const shown = el("output", { class: "ml-st-shown" });
    const slider = el("input", {
      type: "range",
      min: "0",
      max: row.stops.length - 1,
      step: "1",
      "data-fault": row.name,
      on: {
        input: () => {
          setText(shown, row.stops[Number(slider.value)]);
          setAttrs(slider, { "aria-valuetext": row.stops[Number(slider.value)], "data-held": "yes" });
        },
        change: () => {
          setAttrs(slider, { "data-held": null, "data-sent": slider.value, "data-until": Date.now() + STACK_PATIENCE_MS });
          host.act("stack.lan", { lan: chosen, fault: row.name, at: Number(slider.value) });
        },
        // A drag that ends where it began is no change: without these the slider would stay held and hide later values.
        pointerup: () => setAttrs(slider, { "data-held": null }),
        pointercancel: () => setAttrs(slider, { "data-held": null }),
        blur: () => setAttrs(slider, { "data-held": null }),
      },
    });
    return labelled(row.name, el("span", { class: "ml-st-slider" }, slider, shown));
  }

  function fill(label, row) {
    const [slider, shown] = label.lastChild.children;
    if (slider.hasAttribute("data-held")) return;
    if (slider.hasAttribute("data-sent") && slider.dataset.sent !== String(row.at) && Date.now() < Number(slider.dataset.until)) return;
    setAttrs(slider, { "data-sent": null, "data-until": null });
    if (slider.value !== String(row.at)) slider.value = String(row.at);
    setAttrs(slider, { "aria-valuetext": row.shown });
    setText(shown, row.shown);
  }

  return {
    root,
    update(data) {
      root.hidden = data.lan === null;
      if (data.lan === null) return;
      chosen = data.lan;
      eachRow(lan, data.lans, (name) => name, (name) => el("option", { value: name }, name));
      if (document.activeElement !== lan && lan.value !== data.lan) lan.value = data.lan;
      eachRow(rows, data.faults, (row) => row.name, make, fill);
      setText(lost, data.lost.length ? `lost so far: ${data.lost.map(([why, count]) => `${showCount(count)} by ${why}`).join(", ")}` : "no frame lost so far");
    },
  };
}
