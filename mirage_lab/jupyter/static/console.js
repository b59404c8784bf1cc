// console: the drawer below the tabs: what a domain printed, and a line to type into it.

import { eachRow, el, labelled, setText } from "./dom.js";

export function consoleDrawer(host) {
  const chosen = el("select", { on: { change: (event) => host.look({ "console.domain": event.target.value }) } });
  const text = el("pre", { class: "ml-console-text", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "console output" });
  const line = el("input", { type: "text", class: "ml-console-line", maxlength: "999", autocomplete: "off", spellcheck: "false" });
  const form = el(
    "form",
    {
      class: "ml-bar",
      on: {
        submit: (event) => {
          event.preventDefault();
          host.act("console.write", { domain: chosen.value, text: `${line.value}\n` });
          line.value = "";
        },
      },
    },
    labelled("type", line, { class: "ml-labelled ml-wide" }),
    el("button", { type: "submit", class: "ml-button" }, "send"),
  );
  const last = el("span", { class: "ml-console-last" });
  const root = el(
    "details",
    { class: "ml-console" },
    el("summary", {}, "Console ", last),
    el("div", { class: "ml-bar" }, labelled("domain", chosen)),
    text,
    form,
  );
  return {
    root,
    update(data) {
      eachRow(chosen, data.domains, (name) => name, (name) => el("option", { value: name }, name));
      if (data.domain && chosen.value !== data.domain) chosen.value = data.domain;
      const lines = data.left_out ? [`... ${data.left_out} earlier lines: vm.console.text`, ...data.lines] : data.lines;
      const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
      setText(text, lines.join("\n"));
      if (atEnd) text.scrollTop = text.scrollHeight;
      setText(last, data.domain ? `${data.domain}: ${data.lines.at(-1) ?? "nothing printed yet"}` : "no domain");
      form.hidden = !data.domain;
    },
  };
}
