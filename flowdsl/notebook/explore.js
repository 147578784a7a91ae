const MARKS = { delivered: "●", passed: "→", matched: "•", dropped: "×", failed: "!", absorbed: "»", held: "…", "not matched": "–" };
const badge = (outcome) => h("span", { class: `badge ${outcome.replace(" ", "-")}` }, outcome);

const toolbar = (view) => h("div", { class: "bar" },
  h("input", { type: "search", class: "grow", placeholder: "search: text, id or number", "aria-label": "search", value: view.filter.text, field: { do: "filter", name: "text" } }),
  choice("kind", "any kind", view.kinds.map((k) => [k, k]), view.filter.kind),
  choice("type", "any type", view.types.map((t) => [t, t]), view.filter.type),
  choice("ending", "any outcome", [
    ...view.outcomes.map((o) => [o.name, `${o.name} (${number(o.count)})`]),
    ...view.endings.map((e, i) => [`#${i}`, `${e.label} (${number(e.count)})`]),
  ], typeof view.filter.ending === "number" ? `#${view.filter.ending}` : view.filter.ending),
);

const choice = (name, any, options, value) => h("select", { "aria-label": name, title: name, value: value ?? "", field: { do: "filter", name } },
  h("option", { value: "" }, any), ...options.map(([v, text]) => h("option", { value: v, selected: v === value }, text)));

const jumps = (view) => h("div", { class: "bar" },
  h("span", { class: "quiet" }, view.busy ? view.busy : `${number(view.matches)} of ${number(view.events)} events`),
  h("span", { class: "grow" }),
  h("span", { class: "quiet" }, "next"),
  ...view.outcomes.filter((o) => o.count && o.name !== "not matched").map((o) =>
    h("button", { class: `badge ${o.name}`, title: `go to the next event that was ${o.name}`, send: { do: "seek", forward: true, ending: o.name } }, o.name)),
  h("button", { title: "previous event (↑)", "aria-label": "previous event", send: { do: "seek", forward: false } }, "↑"),
  h("button", { title: "next event (↓)", "aria-label": "next event", send: { do: "seek", forward: true } }, "↓"),
);

const events = (view) => h("table", { class: "events", role: "listbox", "aria-label": "events" },
  h("tbody", {}, ...view.rows.map((row) => h("tr", { class: row.open ? "open" : "", role: "option", "aria-selected": row.open ? "true" : "false", send: { do: "open", seq_no: row.seq_no } },
    h("td", { class: "number" }, number(row.seq_no)), h("td", {}, row.time), h("td", {}, `${row.kind} `, h("bdi", {}, row.type)),
    h("td", { class: "ends" }, ...row.ends.map(end)), h("td", { class: "outcomes" }, ...row.outcomes.map(badge))))));

const end = ({ id, name }, i) => [i > 0 && h("span", { class: "quiet" }, " → "), h("bdi", { title: id }, name), name !== id && [" ", h("bdi", { class: "id", title: id }, id)]];

const way = (view) => h("div", { class: "way" },
  h("div", { class: "bar steps" },
    ...[["first", "«"], ["back", "‹"], ["next", "›"], ["last", "»"]].map(([where, sign]) => h("button", {
      title: `${where} step`, "aria-label": `${where} step`, send: { do: "go", where },
      disabled: ["first", "back"].includes(where) ? view.step <= 0 : view.step >= view.path.length - 1 }, sign)),
    view.branches.length > 0 && h("select", { "aria-label": "branch", value: view.branch, field: { do: "follow" } },
      ...view.branches.map((b) => h("option", { value: b.name, selected: b.name === view.branch }, `branch ${b.name}: ${b.end}`)))),
  h("ol", {}, ...view.path.map((step, i) => h("li", { class: `${i === view.step ? "open" : ""} ${step.outcome.replace(" ", "-")}`, title: step.text, send: { do: "go", where: i } },
    h("span", { class: "number" }, step.number ?? ""), h("span", { class: `mark ${step.outcome.replace(" ", "-")}`, title: step.outcome }, MARKS[step.outcome] ?? ""),
    h("code", {}, step.text)))));

const detail = (view) => {
  const d = view.detail, step = view.path[view.step];
  if (!d) return h("div", { class: "detail" });
  return h("div", { class: "detail" },
    h("div", { class: "outcome" }, badge(step.outcome),
      step.reason && h("span", {}, step.reason),
      d.sinks.length > 0 && h("span", {}, `to ${d.sinks.join(", ")}`, d.recipient ? [" for ", h("bdi", {}, d.recipient)] : ""),
      d.at && h("span", { class: "quiet" }, d.at),
      d.goes_on && h("button", { send: { do: "open", seq_no: d.goes_on } }, `open event ${number(d.goes_on)}`)),
    d.operands.length > 0 && section("what it read", h("table", { class: "values" }, ...d.operands.map(([name, value]) => pair(name, value)))),
    d.payload !== null && section("payload", h("pre", { class: "payload", dir: "auto" }, d.payload)),
    section(view.step ? "variables after it" : "variables at the start", h("table", { class: "values" }, ...d.variables.map((v) => pair(v.name, v.value, v.new)))));
};

const section = (title, body) => h("section", {}, h("h4", {}, title), body);
const pair = (name, value, fresh) => h("tr", { class: fresh ? "new" : "" }, h("th", {}, h("bdi", {}, name), fresh && h("span", { class: "tag" }, "new")), h("td", {}, h("pre", { dir: "auto" }, value)));

const event = (view) => view.event && h("details", { class: "event" },
  h("summary", {}, h("b", {}, `event ${number(view.event.seq_no)} `), h("bdi", {}, view.event.title), h("span", { class: "quiet" }, ` ${view.event.time}`)),
  h("table", { class: "values" }, ...view.event.fields.map(([name, value]) => pair(name, value))));

export default {
  render({ model, el }) {
    return mount(model, el, "explore", (view) => [
      view.error && h("div", { class: "problem", role: "alert" }, view.error), toolbar(view), jumps(view), events(view), event(view), h("div", { class: "split" }, way(view), detail(view)),
    ], {
      start: (root, { send }) => root.addEventListener("keydown", (e) => {
        if (["INPUT", "SELECT", "TEXTAREA"].includes(e.target.tagName)) return;
        const keys = { ArrowLeft: { do: "go", where: "back" }, ArrowRight: { do: "go", where: "next" }, Home: { do: "go", where: "first" }, End: { do: "go", where: "last" },
          ArrowUp: { do: "seek", forward: false }, ArrowDown: { do: "seek", forward: true }, PageUp: { do: "turn", pages: -10 }, PageDown: { do: "turn", pages: 10 } };
        if (keys[e.key] && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); e.stopPropagation(); send(keys[e.key]); }
      }),
    });
  },
};
