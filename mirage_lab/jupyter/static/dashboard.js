// dashboard: everything a lab holds, in tables, with the buttons that act on it.

import { button, eachRow, el, setText, showCount, showTime } from "./dom.js";

const DASHBOARD_MARKS = { running: "●", blocked: "◐", paused: "○", shutdown: "■", crashed: "✕" };

export function dashboardView(host) {
  const seed = el("p", { class: "ml-dash-seed" });
  const domains = dashboardTable("Domains", ["name", "state", "id", "memory", "virtual CPU", "hypercalls", "last line", "do"]);
  const lans = dashboardTable("Lans", ["name", "subnet", "gateway", "faults", "frames", "lost", "ports", "do"]);
  const captures = dashboardTable("Captures", ["name", "frames", "bytes", "dropped", "do"]);
  const forwards = dashboardTable("Forwards", ["from", "to", "state", "do"]);
  const behind = el("ul", { class: "ml-dash-behind" });
  const journal = el("ol", { class: "ml-dash-journal" });
  const root = el(
    "div",
    { class: "ml-dash" },
    seed,
    domains.root,
    lans.root,
    captures.root,
    forwards.root,
    el("div", { class: "ml-two" }, el("section", {}, el("h3", {}, "Running behind"), behind), el("section", {}, el("h3", {}, "Commands so far"), journal)),
  );

  const domainButtons = (row) => [
    button("unpause", () => host.act("domain.unpause", { domain: row.name }), { "aria-label": `unpause ${row.name}` }),
    button("pause", () => host.act("domain.pause", { domain: row.name }), { "aria-label": `pause ${row.name}` }),
    button("why", () => host.act("domain.why", { domain: row.name }), { "aria-label": `why is ${row.name} as it is` }),
    button("destroy", () => host.act("domain.destroy", { domain: row.name }), { "aria-label": `destroy ${row.name}` }),
  ];

  return {
    root,
    update(data) {
      setText(seed, `seed ${data.seed} · ${data.counts.domains} domains · ${data.counts.lans} lans · ${data.counts.captures} captures · ${data.counts.forwards} forwards`);
      domains.fill(data.domains, (row) => row.name, domainButtons, (row) => [
        row.name,
        `${DASHBOARD_MARKS[row.state] ?? "?"} ${row.state}`,
        row.domid,
        `${row.memory_mib} MiB`,
        row.cpu,
        showCount(row.hypercalls),
        row.line,
      ]);
      lans.fill(
        data.lans,
        (row) => row.name,
        (row) => [button("capture", () => host.act("capture", { lan: row.name }), { "aria-label": `capture on ${row.name}` })],
        (row) => [row.name, row.subnet, row.gateway, row.detail, showCount(row.frames), showCount(row.lost), row.ports.join(", ")],
      );
      captures.fill(
        data.captures,
        (row) => row.name,
        (row) => [button("packets", () => host.look({ tab: "packets", "packets.capture": row.name }), { "aria-label": `packets of ${row.name}` })],
        (row) => [row.name, showCount(row.frames), showCount(row.bytes), showCount(row.dropped)],
      );
      forwards.fill(
        data.forwards,
        (row) => `${row.domain}:${row.port}`,
        (row) => [button("close", () => host.act("forward.close", { domain: row.domain, port: row.port }), { "aria-label": `close the forward to ${row.domain}:${row.port}` })],
        (row) => [row.url, `${row.domain}:${row.port}`, row.state],
      );
      eachRow(behind, data.behind.length ? data.behind : ["nothing"], (line) => line, (line) => el("li", {}, line));
      eachRow(
        journal,
        data.journal.map((row, place) => ({ ...row, place })),
        (row) => `${row.place} ${row.t} ${row.line}`,
        (row) => el("li", {}, el("span", { class: "ml-time" }, showTime(row.t)), " ", el("code", {}, row.line)),
      );
    },
  };
}

function dashboardTable(words, columns) {
  const body = el("tbody", {});
  const none = el("p", { class: "ml-hint" }, "none");
  const table = el(
    "table",
    { class: "ml-table" },
    el("caption", {}, words),
    el("thead", {}, el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)))),
    body,
  );
  return {
    root: el("section", { class: "ml-dash-section" }, el("div", { class: "ml-across", tabindex: "0", role: "region", "aria-label": words }, table), none),
    fill(rows, key, buttons, cells) {
      none.hidden = rows.length > 0;
      eachRow(
        body,
        rows,
        key,
        (row) => el("tr", { "data-row": key(row) }, ...cells(row).map((_, place) => el(place ? "td" : "th", place ? {} : { scope: "row" })), el("td", { class: "ml-buttons" }, ...buttons(row))),
        (line, row) => cells(row).forEach((value, place) => setText(line.children[place], value)),
      );
    },
  };
}
