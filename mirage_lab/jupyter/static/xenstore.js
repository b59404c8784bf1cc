// xenstore: the tree as rows one can move in, and what changed in it last.

import { button, eachRow, el, labelled, roving, setAttrs, setText, showTime } from "./dom.js";

export function xenstoreView(host) {
  const filter = el("input", { type: "search", size: 24, placeholder: "part of a path", on: { input: () => show() } });
  const rows = el("ul", { class: "ml-xs-tree", role: "listbox", "aria-label": "nodes of the xenstore" });
  const more = el("p", { class: "ml-hint" });
  const path = el("input", { type: "text", size: 36, spellcheck: "false" });
  const value = el("input", { type: "text", size: 24, spellcheck: "false" });
  const recent = el("ol", { class: "ml-xs-recent" });
  let data = { rows: [], recent: [], more: false };
  const form = el(
    "form",
    {
      class: "ml-bar",
      on: {
        submit: (event) => {
          event.preventDefault();
          host.act("xenstore.write", { path: path.value, value: value.value });
        },
      },
    },
    labelled("path", path),
    labelled("value", value),
    el("button", { type: "submit", class: "ml-button" }, "write"),
    button("remove", () => host.act("xenstore.rm", { path: path.value })),
  );
  const root = el(
    "div",
    { class: "ml-xs" },
    el("div", { class: "ml-bar" }, labelled("show", filter)),
    el("div", { class: "ml-two" }, el("div", { class: "ml-scroll", tabindex: "-1" }, rows, more), el("div", {}, el("h3", {}, "Changed last"), el("div", { class: "ml-scroll", tabindex: "0", role: "region", "aria-label": "changed last" }, recent))),
    form,
  );
  roving(rows, ".ml-xs-row");

  function pick(row) {
    path.value = row.path;
    value.value = row.value;
    rows.querySelectorAll(".ml-xs-row").forEach((each) => each.setAttribute("aria-selected", each.dataset.path === row.path ? "true" : "false"));
  }

  function show() {
    const wanted = filter.value.trim();
    const shown = wanted ? data.rows.filter((row) => row.path.includes(wanted) || row.value.includes(wanted)) : data.rows;
    eachRow(
      rows,
      shown,
      (row) => row.path,
      (row) =>
        el(
          "li",
          {
            class: "ml-xs-row",
            role: "option",
            tabindex: "-1",
            "aria-selected": "false",
            "data-path": row.path,
            on: {
              click: () => pick(data.rows.find((each) => each.path === row.path) ?? row),
              keydown: (event) => {
                if (event.key === "Enter" || event.key === " ") {
                  event.preventDefault();
                  pick(data.rows.find((each) => each.path === row.path) ?? row);
                }
              },
            },
          },
          el("span", { class: "ml-xs-name" }),
          el("span", { class: "ml-xs-value" }),
          el("span", { class: "ml-xs-perms" }),
          el("span", { class: "ml-xs-watched" }),
        ),
      (item, row) => {
        const [name, words, perms, watched] = item.children;
        item.style.paddingLeft = `${0.5 + (wanted ? 0 : row.depth) * 1.1}em`;
        setText(name, wanted ? row.path : row.name);
        setText(words, row.value ? `"${row.value}"` : row.children ? "" : '""');
        setText(perms, row.perms);
        setText(watched, row.watched ? `watched by ${row.watched}` : "");
        setAttrs(item, { title: `${row.path}: owner domain ${row.perms.slice(1).split(" ")[0]}, permissions ${row.perms}` });
      },
    );
    if (!rows.querySelector('[tabindex="0"]')) rows.firstChild?.setAttribute("tabindex", "0");
    setText(more, data.more ? "The tree is larger than what is shown here: %xenstore ls shows it all." : shown.length ? "" : "no node");
  }

  return {
    root,
    update(given) {
      data = given;
      show();
      eachRow(
        recent,
        given.recent,
        (row) => row.id,
        () => el("li", {}, el("span", { class: "ml-time" }), " ", el("span", {}), " ", el("span", { class: "ml-mono" })),
        (item, row) => {
          setText(item.children[0], showTime(row.t));
          setText(item.children[1], `${row.kind} by ${row.source}`);
          setText(item.children[2], `${row.path}${row.value ? ` = "${row.value}"` : ""}`);
        },
      );
    },
  };
}
