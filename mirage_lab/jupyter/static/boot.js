// boot: a domain comes up.  A timeline with a lane for each domain; below it memory, event channels, or bytes with names.
// The cursor of the timeline is one slider: arrow keys go from mark to mark and from row to row.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showCount, showTime, svg } from "./dom.js";

const BOOT_LEFT = 104;
const BOOT_RIGHT = 14;
const BOOT_TOP = 36;
const BOOT_ROW = 15;
const BOOT_LANE = 20;
const BOOT_LEAST = 560;
const BOOT_CELL = 10;
const BOOT_CELLS = 64;
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
        if (data[name]) panel.update(data[name], data);
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
      button("step hypercall", () => host.act("boot.until", { kind: "xen.hypercall", source: data()?.domain ?? "" }), { title: "run until this domain calls the hypervisor" }),
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

/** The lanes.  One element takes the keys: a slider whose value is the chosen event. */
function bootTimeline(host) {
  const title = svg("title", {}, "timeline");
  const desc = svg("desc", {});
  const axis = svg("g", { class: "ml-boot-axis" });
  const lanes = svg("g", {});
  const links = svg("path", { class: "ml-boot-links", fill: "none" });
  const now = svg("line", { class: "ml-boot-now" });
  const nowWords = svg("text", { class: "ml-boot-nowwords", "text-anchor": "middle" }, "now");
  const cursor = svg("line", { class: "ml-boot-cursor" });
  const ring = svg("circle", { class: "ml-boot-ring", r: 5, fill: "none" });
  const veil = svg("rect", { class: "ml-boot-veil" });
  const drawing = svg("svg", { class: "ml-boot-drawing", role: "img" }, title, desc, axis, veil, lanes, links, now, nowWords, cursor, ring);
  const slider = el("div", { class: "ml-boot-slider", role: "slider", tabindex: "0", "aria-label": "chosen event of the timeline", "aria-orientation": "horizontal" }, drawing);
  const overview = svg("svg", { class: "ml-boot-overview", role: "img", height: 22 });
  const note = el("p", { class: "ml-hint ml-boot-note" });
  const axisKind = el("select", { on: { change: (event) => host.look({ "boot.axis": event.target.value, "boot.from": null, "boot.to": null }) } });
  axisKind.append(el("option", { value: "time" }, "virtual time"), el("option", { value: "order" }, "order of events"));
  const follow = button("follow now", () => toggleFollow(), { "aria-pressed": "false" });
  const bar = el(
    "div",
    { class: "ml-bar", role: "group", "aria-label": "what the timeline shows" },
    button("whole boot", () => show(null, null)),
    button("zoom in", () => zoom(0.4), { title: "key +" }),
    button("zoom out", () => zoom(2.5), { title: "key -" }),
    button("earlier", () => shift(-0.5)),
    button("later", () => shift(0.5)),
    follow,
    labelled("axis", axisKind),
  );
  const root = el("div", { class: "ml-boot-timeline" }, bar, el("div", { class: "ml-across" }, slider), overview, note);
  let data = null;
  let width = BOOT_LEAST;
  let places = [];
  let here = null;
  new ResizeObserver((entries) => {
    const wide = Math.max(BOOT_LEAST, Math.floor(entries.at(-1).contentRect.width));
    if (wide !== width && entries.at(-1).contentRect.width) {
      width = wide;
      if (data) draw();
    }
  }).observe(root);

  const x = (column) => BOOT_LEFT + (column / data.columns) * (width - BOOT_LEFT - BOOT_RIGHT);

  function show(from, to, more) {
    host.look({ "boot.from": from, "boot.to": to, "boot.follow": false, ...more });
  }

  function toggleFollow() {
    if (follow.getAttribute("aria-pressed") === "true") show(data.start, data.stop);
    else host.look({ "boot.follow": true, "boot.from": null, "boot.to": null, "boot.span": data.stop - data.start });
  }

  function zoom(factor) {
    if (!data) return;
    const span = data.stop - data.start;
    const least = data.axis === "order" ? 4 : 40;
    const wide = Math.max(least, Math.round(span * factor));
    const column = data.selected?.column ?? data.columns / 2;
    const middle = data.start + (span * column) / data.columns;
    const from = Math.max(0, Math.round(middle - (wide * column) / data.columns));
    show(from, from + wide);
  }

  function shift(share) {
    if (!data) return;
    const span = data.stop - data.start;
    const from = Math.max(0, Math.round(data.start + span * share));
    show(from, from + span);
  }

  function choose(place) {
    here = place;
    host.look({ "boot.event": place ? place.mark[2] : null });
  }

  /** Where the cursor stands: a row with marks, and which mark. */
  function current() {
    const id = data.selected?.id;
    if (here && places.includes(here.row) && here.row.marks.includes(here.mark)) return here;
    for (const row of places) {
      if (data.selected && (row.domain !== data.selected.source || row.name !== data.selected.row)) continue;
      const marks = row.marks.filter((mark) => mark[2] <= id);
      if (marks.length) return { row, mark: marks.at(-1) };
    }
    return null;
  }

  function nearest(row, column) {
    return row.marks.reduce((best, mark) => (Math.abs(mark[0] - column) < Math.abs(best[0] - column) ? mark : best), row.marks[0]);
  }

  function key(event) {
    if (!data) return;
    const rows = places.filter((row) => row.marks.length);
    const at = current();
    if (event.key === "+" || event.key === "=") zoom(0.4);
    else if (event.key === "-") zoom(2.5);
    else if (event.key === "0") show(null, null);
    else if (event.key === "PageUp") shift(-0.5);
    else if (event.key === "PageDown") shift(0.5);
    else if (event.key === "Escape") choose(null);
    else if (!rows.length) return;
    else if (!at && event.key.startsWith("Arrow")) choose({ row: rows[0], mark: rows[0].marks[0] });
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const index = at.row.marks.indexOf(at.mark) + (event.key === "ArrowRight" ? 1 : -1);
      const mark = at.row.marks[Math.max(0, Math.min(at.row.marks.length - 1, index))];
      choose({ row: at.row, mark });
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const index = rows.indexOf(at.row) + (event.key === "ArrowDown" ? 1 : -1);
      const row = rows[Math.max(0, Math.min(rows.length - 1, index))];
      choose({ row, mark: nearest(row, at.mark[0]) });
    } else if (event.key === "Home" || event.key === "End") {
      const row = at?.row ?? rows[0];
      choose({ row, mark: event.key === "Home" ? row.marks[0] : row.marks.at(-1) });
    } else return;
    event.preventDefault();
  }
  slider.addEventListener("keydown", key);
  slider.addEventListener("click", (event) => {
    if (!data) return;
    const box = drawing.getBoundingClientRect();
    const px = event.clientX - box.left;
    const py = event.clientY - box.top;
    const row = places.find((each) => py >= each.y && py < each.y + BOOT_ROW);
    if (!row?.marks.length) return;
    const mark = nearest(row, ((px - BOOT_LEFT) / (width - BOOT_LEFT - BOOT_RIGHT)) * data.columns);
    if (Math.abs(x(mark[0]) - px) < 12) choose({ row, mark });
  });
  overview.addEventListener("click", (event) => {
    const box = overview.getBoundingClientRect();
    const share = (event.clientX - box.left - BOOT_LEFT) / (box.width - BOOT_LEFT - BOOT_RIGHT);
    const span = data.stop - data.start;
    const from = Math.max(0, Math.round(data.high * Math.max(0, Math.min(1, share)) - span / 2));
    show(from, from + span);
  });

  function drawRow(group, row) {
    const [name, line, path, words] = group.children;
    setAttrs(name, { x: BOOT_LEFT - 8, y: row.y + 11, "text-anchor": "end" });
    setText(name, row.count ? `${row.name} ${showCount(row.count)}` : row.name);
    setAttrs(line, { x1: BOOT_LEFT, x2: width - BOOT_RIGHT, y1: row.y + BOOT_ROW - 1.5, y2: row.y + BOOT_ROW - 1.5 });
    const base = row.y + BOOT_ROW - 2;
    setAttrs(path, { d: row.marks.map(([column, count]) => `M${x(column).toFixed(1)} ${base}V${(base - Math.min(12, 5 + 2 * Math.log2(count))).toFixed(1)}`).join("") });
    const labels = bootLabels(row.marks, x, BOOT_LEFT, width);
    eachRow(words, labels, (label) => label.id, () => svg("text", { class: "ml-boot-label" }), (node, label) => {
      setAttrs(node, { x: label.at, y: row.y + 10, "text-anchor": label.side });
      setText(node, label.text);
    });
  }

  function draw() {
    places = [];
    let y = BOOT_TOP;
    const drawn = data.lanes.map((lane, index) => {
      const top = y;
      y += BOOT_LANE;
      const rows = lane.rows.map((row) => {
        const place = { ...row, domain: lane.domain, y };
        places.push(place);
        y += BOOT_ROW;
        return place;
      });
      y += 4;
      return { ...lane, rows, top, colour: index % 8 };
    });
    setAttrs(drawing, { width, height: y + 4, viewBox: `0 0 ${width} ${y + 4}` });
    eachRow(
      axis,
      data.ticks.map(([column, words]) => ({ column, words })),
      (tick) => tick.words,
      () => svg("g", {}, svg("line", {}), svg("text", { "text-anchor": "middle" })),
      (group, tick) => {
        setAttrs(group.children[0], { x1: x(tick.column), x2: x(tick.column), y1: 20, y2: y });
        setAttrs(group.children[1], { x: Math.min(x(tick.column), width - 30), y: 14 });
        setText(group.children[1], tick.words);
      },
    );
    eachRow(
      lanes,
      drawn,
      (lane) => lane.domain,
      () => svg("g", { class: "ml-boot-lane" }, svg("text", { class: "ml-boot-name", x: 4 }), svg("g", {})),
      (group, lane) => {
        setAttrs(group, { "data-colour": lane.colour, "data-lane": lane.domain });
        setAttrs(group.children[0], { y: lane.top + 14 });
        setText(group.children[0], `${lane.domain} (domid ${lane.domid})`);
        eachRow(
          group.children[1],
          lane.rows,
          (row) => row.name,
          (row) => svg("g", { class: "ml-boot-row", "data-row": row.name }, svg("text", { class: "ml-boot-rowname" }), svg("line", { class: "ml-boot-base" }), svg("path", { class: "ml-boot-marks", fill: "none" }), svg("g", {})),
          drawRow,
        );
      },
    );
    drawChosen(y);
    drawNow(y);
    drawVeil(y);
    drawOverview();
  }

  function rowOf(told) {
    return places.find((row) => row.domain === told.source && row.name === told.row);
  }

  function drawChosen(bottom) {
    const told = data.selected;
    const row = told && told.column !== null ? rowOf(told) : null;
    cursor.style.display = ring.style.display = row ? "" : "none";
    if (row) {
      setAttrs(cursor, { x1: x(told.column), x2: x(told.column), y1: 18, y2: bottom });
      setAttrs(ring, { cx: x(told.column), cy: row.y + BOOT_ROW / 2 });
    }
    const steps = told ? [told, ...told.causes].map((each) => [each, each.column === null ? null : rowOf(each)]).filter(([, place]) => place) : [];
    setAttrs(links, { d: steps.length > 1 ? steps.map(([each, place], index) => `${index ? "L" : "M"}${x(each.column).toFixed(1)} ${place.y + BOOT_ROW / 2}`).join("") : "" });
    const span = `${data.axis === "order" ? `event ${data.start} to ${data.stop}` : `${showTime(data.start)} to ${showTime(data.stop)}`}`;
    setAttrs(slider, {
      "aria-valuemin": 0,
      "aria-valuemax": data.columns,
      "aria-valuenow": told?.column ?? 0,
      "aria-valuetext": told ? `event ${told.id} of ${told.source} at ${showTime(told.t)}: ${told.kind} ${told.words}` : `nothing chosen; ${span}, ${data.events} events`,
    });
    setText(desc, `${span}: ${data.lanes.map((lane) => `${lane.domain}: ${lane.rows.filter((row) => row.count).map((row) => `${row.count} ${row.name}`).join(", ") || "nothing"}`).join("; ")}`);
  }

  function drawNow(bottom) {
    const shown = data.now !== null;
    now.style.display = nowWords.style.display = shown ? "" : "none";
    if (!shown) return;
    setAttrs(now, { x1: x(data.now), x2: x(data.now), y1: 30, y2: bottom });
    setAttrs(nowWords, { x: Math.min(x(data.now), width - 16), y: 28 });
  }

  function drawVeil(bottom) {
    const short = data.left_out > 0 && data.shown;
    veil.style.display = short ? "" : "none";
    if (!short) return;
    const [from, to] = data.shown;
    const before = from > data.columns - to;
    const left = before ? x(0) : x(to);
    setAttrs(veil, { x: left, y: 20, width: Math.max(0, (before ? x(from) : x(data.columns)) - left), height: bottom - 20 });
  }

  function drawOverview() {
    const bars = data.overview;
    overview.style.display = bars.length && data.high ? "" : "none";
    if (!bars.length || !data.high) return;
    const room = width - BOOT_LEFT - BOOT_RIGHT;
    const most = Math.max(1, ...bars);
    setAttrs(overview, { width, viewBox: `0 0 ${width} 22`, "aria-label": `all events up to now, ${showTime(data.high)}; the frame is what is shown above` });
    const d = bars.map((count, index) => (count ? `M${(BOOT_LEFT + ((index + 0.5) / bars.length) * room).toFixed(1)} 20V${(20 - 2 - (14 * Math.log(1 + count)) / Math.log(1 + most)).toFixed(1)}` : "")).join("");
    if (!overview.firstChild) overview.append(svg("text", { x: 4, y: 15, class: "ml-boot-rowname" }, "everything"), svg("path", { class: "ml-boot-bars", fill: "none" }), svg("rect", { class: "ml-boot-frame", y: 1, height: 20, fill: "none" }));
    setAttrs(overview.children[1], { d, "stroke-width": Math.max(1, room / bars.length - 2) });
    const [from, to] = [data.start, data.stop].map((t) => BOOT_LEFT + Math.min(1, t / data.high) * room);
    setAttrs(overview.children[2], { x: from, width: Math.max(2, to - from) });
  }

  return {
    root,
    update(snapshot) {
      data = snapshot.timeline;
      if (document.activeElement !== axisKind) axisKind.value = data.axis;
      setText(title, `timeline of ${snapshot.domain}`);
      follow.setAttribute("aria-pressed", data.follow ? "true" : "false");
      const told = [`${showCount(data.events)} events in view`];
      if (data.left_out) told.push(`${showCount(data.left_out)} of them not drawn: zoom in`);
      if (data.dropped) told.push(`the oldest ${showCount(data.dropped)} of the history are gone`);
      setText(note, `${told.join(" · ")} · arrow keys go from mark to mark, + and - zoom, 0 shows the whole boot`);
      draw();
    },
  };
}

/** Words beside the marks that have some, right of the mark or left of it, where nothing else is written. */
function bootLabels(marks, x, left, right) {
  const letter = 6.6;
  let free = left;
  const labels = [];
  marks.forEach((mark, index) => {
    if (mark.length < 4) return;
    const at = x(mark[0]);
    const next = index + 1 < marks.length ? x(marks[index + 1][0]) : right;
    const wide = mark[3].length * letter + 6;
    if (at >= free && at + wide <= next) {
      labels.push({ id: mark[2], at: at + 4, side: "start", text: mark[3] });
      free = at + wide;
    } else if (at - wide >= free) {
      labels.push({ id: mark[2], at: at - 4, side: "end", text: mark[3] });
      free = at + 2;
    } else if (at >= free && next - at > 4 * letter) {
      labels.push({ id: mark[2], at: at + 4, side: "start", text: `${mark[3].slice(0, Math.floor((next - at) / letter) - 2)}…` });
      free = next;
    }
  });
  return labels;
}

/** The chosen event: what, its neighbours, and what led to it. */
function bootDetail(host) {
  const head = el("h3", {});
  const words = el("p", { class: "ml-mono" });
  const facts = el("tbody", {});
  const causes = el("ol", { class: "ml-boot-causes" });
  const end = el("p", { class: "ml-hint" });
  let event = null;
  const pick = (id) => host.look({ "boot.event": id });
  const before = button("previous of its row", () => pick(event.before));
  const after = button("next of its row", () => pick(event.after));
  const goThere = button("go to this moment", () => host.act("boot.run_to", { t: event.t }), { title: "run to its time, or back to it" });
  const root = el(
    "div",
    { class: "ml-boot-detail", role: "region", "aria-label": "the chosen event", hidden: true },
    el("div", { class: "ml-bar" }, head, before, after, goThere, button("close", () => pick(null), { "aria-label": "close the chosen event" })),
    el("div", { class: "ml-two" }, el("div", {}, words, el("table", { class: "ml-facts" }, facts)), el("div", {}, el("h4", {}, "because of"), el("div", { class: "ml-boot-because" }, causes, end))),
  );
  roving(causes, "button");
  return {
    root,
    update(data) {
      event = data.timeline.selected;
      root.hidden = !event;
      if (!event) return;
      setText(head, `#${event.id} ${event.kind} · ${event.source} · t = ${showTime(event.t)}`);
      setText(words, event.words);
      before.disabled = event.before === null;
      after.disabled = event.after === null;
      eachRow(
        facts,
        event.fields.map(([name, value]) => ({ name, value })),
        (row) => row.name,
        (row) => el("tr", {}, el("th", { scope: "row" }, row.name), el("td", {})),
        (node, row) => setText(node.lastChild, row.value),
      );
      eachRow(
        causes,
        event.causes,
        (cause) => cause.id,
        (cause) => el("li", {}, button("", () => pick(cause.id), { class: "ml-boot-cause" })),
        (node, cause) => setText(node.firstChild, `#${cause.id} ${cause.source} ${cause.kind}: ${cause.words}`),
      );
      setText(end, { outside: "... and that came from outside", more: "... and more before that", dropped: "... what was before is no longer kept" }[event.end]);
    },
  };
}

/** Pages: cells, each page one; a long run is folded into one row of cells. */
function bootMemory(host) {
  const by = el("select", { on: { change: (event) => host.look({ "boot.colour": event.target.value }) } });
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
    el("div", { class: "ml-two" }, el("div", { class: "ml-across" }, drawing), el("div", {}, list, note, detail)),
  );
  roving(list, ".ml-boot-runbutton");

  function tell(run) {
    const pages = `${showCount(run.count)} page${run.count === 1 ? "" : "s"}`;
    const grant = run.to && run.grant !== "mapped from another" ? `${run.grant} to ${run.to}` : run.grant;
    return `${showCount(run.first)}: ${pages}, ${run.type}, of ${run.owner}, ${grant}${run.ref === null ? "" : `, ref ${run.ref}${run.count > 1 ? " on" : ""}`}`;
  }

  function choose(run) {
    host.look({ "boot.run": run.first });
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
        setAttrs(group, { "data-colour": order.indexOf(run[key]) % 8, "data-plain": run[key] === "kernel" || run[key] === "not granted" ? "yes" : null, "data-chosen": run.first === chosen ? "yes" : null });
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
        setAttrs(text, { x: width / 2, y: Math.floor(run.start / BOOT_CELLS) * BOOT_CELL + BOOT_CELL - 2 });
        setText(text, run.long ? `${showCount(run.count)} pages` : "");
      },
    );
  }

  return {
    root,
    update(memory, snapshot) {
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
          setAttrs(node.firstChild, { "data-colour": row.index % 8, "data-plain": row.name === "kernel" || row.name === "not granted" ? "yes" : null });
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
          setAttrs(node.firstChild, { "data-colour": order.indexOf(run[key]) % 8, "data-plain": run[key] === "kernel" || run[key] === "not granted" ? "yes" : null });
          setText(node.lastChild, tell(run));
        },
      );
      if (!list.querySelector('[tabindex="0"]')) list.querySelector("button")?.setAttribute("tabindex", "0");
      setText(note, memory.left_out ? `${showCount(memory.left_out)} more runs are not listed` : "");
      const run = runs.find((each) => each.first === chosen);
      detail.hidden = !run;
      if (run) {
        if (!page.value) page.value = run.first;
        const frames = run.first < memory.nr_pages ? `; machine frames from 0x${(memory.base + run.first).toString(16)}` : "; beyond RAM: a mapping";
        setText(words, `${tell(run)}; address 0x${(run.first * 4096).toString(16)}${frames}`);
      }
      void snapshot;
    },
  };
}

/** Ports on the left, their other ends on the right; the table says the same in words. */
function bootChannels(host) {
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
  const root = el("div", { class: "ml-boot-channel" }, note, el("div", { class: "ml-two" }, el("div", { class: "ml-across" }, drawing), el("div", { class: "ml-across" }, table)));
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
function bootBytes(host) {
  const where = el("p", { class: "ml-hint" });
  const rows = el("div", { class: "ml-boot-hex", role: "grid", "aria-label": "bytes" });
  const fields = el("div", { class: "ml-boot-fields", role: "group", "aria-label": "fields" });
  const told = el("p", { class: "ml-boot-told" });
  const root = el("div", { class: "ml-boot-bytes" }, where, told, el("div", { class: "ml-two" }, el("div", { class: "ml-across" }, rows), el("div", { class: "ml-scroll" }, fields)));
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
