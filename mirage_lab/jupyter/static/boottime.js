// boottime: the timeline of the Boot tab, a lane for each domain, and the event that is chosen on it.
// The cursor is one slider: arrow keys go from mark to mark and from row to row.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showCount, showTime, svg } from "./dom.js";

const BOOT_LEFT = 104;
const BOOT_RIGHT = 14;
const BOOT_TOP = 36;
const BOOT_ROW = 15;
const BOOT_LANE = 20;
const BOOT_LEAST = 560;

/** The lanes.  One element takes the keys: a slider whose value is the chosen event. */
export function bootTimeline(host) {
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
  const overview = svg("svg", { class: "ml-boot-overview", role: "img", height: 22 }, svg("title", {}, "events over the whole history"));
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
    if (overview.children.length < 2) overview.append(svg("text", { x: 4, y: 15, class: "ml-boot-rowname" }, "everything"), svg("path", { class: "ml-boot-bars", fill: "none" }), svg("rect", { class: "ml-boot-frame", y: 1, height: 20, fill: "none" }));
    setAttrs(overview.children[2], { d, "stroke-width": Math.max(1, room / bars.length - 2) });
    const [from, to] = [data.start, data.stop].map((t) => BOOT_LEFT + Math.min(1, t / data.high) * room);
    setAttrs(overview.children[3], { x: from, width: Math.max(2, to - from) });
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
export function bootDetail(host) {
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
