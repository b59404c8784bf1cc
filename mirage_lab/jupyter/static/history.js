// history: the commits of xenstore in lanes; a click tells what one changed and lights where it and the one before it parted.

import { eachRow, el, roving, setAttrs, setText, svg } from "./dom.js";

const HISTORY_ROW = 26;
const HISTORY_LANE = 16;
const HISTORY_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

export function historyView(host) {
  const lines = svg("svg", { class: "ml-hi-lines", role: "img" });
  const rows = el("ol", { class: "ml-hi-rows", role: "listbox", "aria-label": "commits of the store, the newest first" });
  const more = el("p", { class: "ml-hint" });
  const detail = el("div", { class: "ml-hi-detail", role: "region", "aria-label": "the commit", tabindex: "0" });
  const root = el(
    "div",
    { class: "ml-hi" },
    el("p", { class: "ml-hint" }, "Each change of the store is a commit; a transaction is a branch, merged at its end. Pick one to see what it changed; pick two, and their lowest common ancestor is lit."),
    el("div", { class: "ml-two" }, el("div", { class: "ml-scroll ml-hi-graph", tabindex: "-1" }, el("div", { class: "ml-hi-drawn" }, lines, rows), more), detail),
  );
  let picked = "";
  let before = "";
  let lit = [];
  let data = { rows: [], lines: [], lanes: 0, more: false };
  roving(rows, ".ml-hi-row");
  historyHint(detail);

  function pick(id) {
    if (id !== picked) before = picked;
    picked = id;
    host.ask("history.commit", { commit: id, other: before }).then(
      (told) => {
        if (told.id !== picked) return;
        lit = told.meet;
        historyDetail(detail, told, before, pick);
        draw();
      },
      (error) => host.say(error.message),
    );
    draw();
  }

  function draw() {
    eachRow(
      rows,
      data.rows,
      (row) => row.id,
      (row) =>
        el(
          "li",
          {
            class: "ml-hi-row",
            role: "option",
            tabindex: "-1",
            on: {
              click: () => pick(row.id),
              keydown: (event) => {
                if (event.key === "Enter" || event.key === " ") {
                  event.preventDefault();
                  pick(row.id);
                }
              },
            },
          },
          el("span", { class: "ml-mono ml-hi-id" }, row.id.slice(0, 7)),
          el("span", { class: "ml-hi-branches" }),
          el("span", { class: "ml-hi-message" }, row.message),
          el("span", { class: "ml-hi-met" }),
        ),
      (item, row) => {
        item.style.paddingLeft = `${14 + HISTORY_LANE * Math.max(1, data.lanes)}px`;
        setText(item.children[1], row.branches.map((name) => `[${name}]`).join(" "));
        setText(item.children[3], lit.includes(row.id) ? "lowest common ancestor" : row.id === before ? "picked before" : "");
        setAttrs(item, { "aria-selected": row.id === picked ? "true" : "false", "data-lit": lit.includes(row.id) ? "yes" : null, "data-before": row.id === before ? "yes" : null });
      },
    );
    if (!rows.querySelector('[tabindex="0"]')) rows.firstChild?.setAttribute("tabindex", "0");
    setText(more, data.more ? "Earlier commits: lab.xenstore.log(1000), or git log of lab.xenstore.serve()." : data.rows.length ? "" : "no commit yet");
    historyLines(lines, data, lit);
  }

  return {
    root,
    update(given) {
      data = given;
      draw();
    },
  };
}

/** The lines from commits to their parents, and a dot for each commit. */
function historyLines(place, data, lit) {
  const x = (lane) => 12 + HISTORY_LANE * lane;
  const y = (row) => HISTORY_ROW * (row + 0.5);
  setAttrs(place, { width: x(Math.max(1, data.lanes)), height: HISTORY_ROW * Math.max(1, data.rows.length) });
  const drawn = data.lines.map(([child, lane, parent]) => {
    const from = [x(data.rows[child].lane), y(child)];
    const points = [from];
    if (parent >= data.rows.length) points.push([x(lane), y(child + 1)], [x(lane), y(data.rows.length) - 4]);
    else {
      if (parent > child + 1) points.push([x(lane), y(child + 1)], [x(lane), y(parent - 1)]);
      points.push([x(data.rows[parent].lane), y(parent)]);
    }
    return svg("polyline", { points: points.map((point) => point.join(",")).join(" "), fill: "none", stroke: HISTORY_COLOURS[lane % HISTORY_COLOURS.length], "stroke-width": 2 });
  });
  const dots = data.rows.map((row, at) =>
    svg("circle", { cx: x(row.lane), cy: y(at), r: lit.includes(row.id) ? 7 : 5, class: lit.includes(row.id) ? "ml-hi-dot ml-hi-lit" : row.merge ? "ml-hi-dot ml-hi-merge" : "ml-hi-dot" }),
  );
  const merges = data.rows.filter((row) => row.merge).length;
  place.replaceChildren(svg("title", {}, `${data.rows.length} commits in ${data.lanes} lanes, ${merges} of them merges`), ...drawn, ...dots);
}

function historyHint(place) {
  place.replaceChildren(el("p", { class: "ml-hint" }, "Pick a commit."));
}

/** What a commit is, what it changed, and the whole tree behind a fold. */
function historyDetail(place, told, before, pick) {
  const link = (id) => el("button", { type: "button", class: "ml-button ml-mono", on: { click: () => pick(id) } }, id.slice(0, 7));
  const changed = told.changes.map((row) =>
    el(
      "li",
      { "data-kind": row.before === null ? "new" : row.after === null ? "gone" : "changed" },
      el("span", { class: "ml-mono" }, row.path),
      row.before === null ? null : el("del", { class: "ml-mono" }, row.before),
      row.after === null ? null : el("ins", { class: "ml-mono" }, row.after),
    ),
  );
  place.replaceChildren(
    el("h3", {}, told.message.split("\n")[0]),
    el("p", {}, el("span", { class: "ml-mono" }, told.id), ` by ${told.author}, parents: `, ...(told.parents.length ? told.parents.map(link) : ["none"])),
    el("pre", { class: "ml-hi-words" }, told.message),
    before && told.meet.length ? el("p", { class: "ml-hi-meet" }, `lowest common ancestor with ${before.slice(0, 7)}: `, ...told.meet.map(link)) : null,
    el("h4", {}, `changed: ${told.changes.length}${told.more ? " or more" : ""}`),
    el("ul", { class: "ml-hi-changes" }, ...changed),
    el(
      "details",
      {},
      el("summary", {}, `the whole tree: ${told.tree.length}${told.more_nodes ? " or more" : ""} nodes`),
      el("ul", { class: "ml-hi-tree" }, ...told.tree.map((row) => el("li", { class: "ml-mono" }, `${row.path} = "${row.value}"  (${row.perms})`))),
    ),
  );
}
