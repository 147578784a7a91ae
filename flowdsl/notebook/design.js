const MODES = [["text", "text"], ["json", "JSON"], ["expression", "expr"]];
const OUTCOMES = { passed: "→", delivered: "●", dropped: "×", failed: "!", absorbed: "»", held: "…" };

const top = (view, state) => h("div", { class: "bar" },
  h("input", { class: "grow name", "aria-label": "name", placeholder: view.placeholder || "name", title: "name of the flow", value: view.name, field: { do: "set_trigger", name: "name" } }),
  h("input", { class: "grow", style: "flex-grow: 2", "aria-label": "description", placeholder: "description", value: view.description, field: { do: "set_trigger", name: "description" } }),
  h("button", { title: "undo (Ctrl+Z)", "aria-label": "undo", disabled: !view.undo, send: { do: "undo" } }, "undo"),
  h("button", { title: "redo (Ctrl+Shift+Z)", "aria-label": "redo", disabled: !view.redo, send: { do: "redo" } }, "redo"));

const problem = (p) => p && h("div", { class: p.mild ? "mild" : "problem", role: p.mild ? null : "alert" }, p.what,
  p.allowed && h("div", { class: "quiet" }, `allowed: ${p.allowed}`), p.hint && h("div", { class: "quiet" }, `hint: ${p.hint}`));

const trigger = (view) => h("div", { class: "step trigger", "data-key": "trigger" },
  h("div", { class: "head" }, h("span", { class: "number" }), h("b", {}, "on"),
    h("select", { "aria-label": "kind", value: view.trigger.kind, field: { do: "set_trigger", name: "kind" } },
      ...view.trigger.kinds.map(([kind, n]) => h("option", { value: kind, selected: kind === view.trigger.kind }, `${kind} (${number(n)})`))),
    h("select", { "aria-label": "type", value: view.trigger.type, field: { do: "set_trigger", name: "type" } },
      h("option", { value: "" }, `any ${view.trigger.family} type`),
      ...view.trigger.types.map(([type, n]) => h("option", { value: type, selected: type === view.trigger.type }, `${type} (${number(n)})`)),
      view.trigger.type && !view.trigger.types.some(([type]) => type === view.trigger.type) && h("option", { value: view.trigger.type, selected: true }, view.trigger.type)),
    h("span", { class: "grow" }), h("span", { class: "counts" }, h("b", {}, number(view.sample.taken)))),
  problem(view.trigger.problem));

const wordKind = (field) => ({ paths: "list", list: "list" }[field.kind] ?? (field.code ? "code" : "whole"));

const control = (view, step, place, field) => {
  const send = { do: "set_option", key: step.key, name: field.name };
  const label = `${step.method} ${field.name}`;
  if (field.kind === "choice") return h("select", { "aria-label": label, value: field.value, field: send, title: field.doc }, ...field.choices.map((c) => h("option", { value: c, selected: c === field.value }, c)));
  if (field.kind === "flag") return h("input", { type: "checkbox", "aria-label": label, checked: field.value, field: send, title: field.doc });
  const common = { "aria-label": label, title: field.doc, placeholder: field.placeholder, value: field.value, field: send, spellcheck: "false", autocomplete: "off", dir: "auto",
    disabled: field.fixed, "data-word": field.offers && wordKind(field), "data-offers": field.offers, "data-place": place, "data-examples": field.offers === "examples" ? JSON.stringify(field.examples) : null };
  if (field.code) return h("input", { ...common, class: "code wide" });
  return h("input", { ...common, class: field.kind === "list" || field.kind === "paths" ? "code middle" : field.kind === "count" || field.kind === "number" || field.kind === "duration" ? "code short" : "code" });
};

const template = (view, step, place, field) => h("div", { class: "rows" },
  ...field.rows.map((row, i) => h("div", { class: "row", "data-key": `row${i}` },
    h("input", { class: "code", "aria-label": `field ${i + 1} name`, placeholder: field.rows.length === 1 ? "field (empty: whole payload)" : "field", value: row.name, field: { do: "set_row", key: step.key, row: i, name: "name" }, dir: "auto", spellcheck: "false" }),
    h("div", { class: "cell" },
      h("div", { class: "bar tight" },
        h("textarea", { rows: 1, class: "code grow", "aria-label": `field ${i + 1} text`, placeholder: "{{ path }} and text", value: row.text, disabled: row.mode === "fixed", field: { do: "set_row", key: step.key, row: i, name: "text" },
          "data-word": row.mode === "expression" ? "code" : "template", "data-offers": "paths", "data-place": place, dir: "auto", spellcheck: "false", autocomplete: "off" }),
        row.mode === "fixed" ? h("span", { class: "quiet" }, "Python") : h("select", { "aria-label": `field ${i + 1} mode`, title: "how the text is meant: a template, JSON, or an expression that keeps its type", value: row.mode, field: { do: "set_row", key: step.key, row: i, name: "mode" } },
          ...MODES.map(([mode, text]) => h("option", { value: mode, selected: mode === row.mode }, text))),
        h("button", { class: "small", title: "move up", "aria-label": `field ${i + 1} up`, disabled: i === 0, send: { do: "move_row", key: step.key, row: i, by: -1 } }, "↑"),
        h("button", { class: "small", title: "remove", "aria-label": `remove field ${i + 1}`, send: { do: "remove_row", key: step.key, row: i } }, "×")),
      step.preview.rows?.[i] && (step.preview.rows[i].error ? h("div", { class: "preview problem" }, step.preview.rows[i].error) : h("div", { class: "preview", dir: "auto" }, step.preview.rows[i].text))))),
  h("button", { class: "small", send: { do: "add_row", key: step.key } }, "+ field"));

const fields = (view, step, place) => {
  const plain = step.fields.filter((f) => f.kind !== "template");
  const shown = (f) => !f.extra || f.value !== (f.kind === "flag" ? true : "") ;
  const one = (f) => h("label", { class: f.code ? "wide" : "", title: f.doc }, h("span", {}, f.name), control(view, step, place, f));
  const more = plain.filter((f) => !shown(f));
  return [
    plain.length > 0 && h("div", { class: "fields" }, ...plain.filter(shown).map(one), more.length > 0 && h("details", { class: "more" }, h("summary", { title: "more options" }, "more"), ...more.map(one))),
    ...step.fields.filter((f) => f.kind === "template").map((f) => template(view, step, place, f)),
  ];
};

const out = (step, place) => step.counts && step.counts.out.length > 0 && h("div", { class: `out ${step.counts.stale ? "stale" : ""}` }, ...step.counts.out.map(([text, n, outcome, reason]) =>
  h("button", { class: `badge ${outcome}`, title: outcome === "branches" ? text : "show the next event that ended so", disabled: outcome === "branches", send: { do: "choose", step: place, outcome, reason } }, `${number(n)} ${text}`)));

const share = (counts) => counts && counts.entered > 0 ? `${Math.round((100 * counts.passed) / counts.entered)} %` : "";

const card = (view, step, place) => h("div", { class: `step ${step.problem && !step.problem.mild ? "bad" : ""}`, "data-key": `step${step.key}`, "data-step": step.key },
  h("div", { class: "head" }, h("span", { class: "number" }, place), h("b", { title: step.summary }, step.method),
    step.outcome && h("span", { class: `mark ${step.outcome}`, title: `the event shown: ${step.outcome}${step.reason ? `, ${step.reason}` : ""}` }, OUTCOMES[step.outcome] ?? ""),
    h("span", { class: "grow" }),
    step.counts && h("span", { class: `counts ${step.counts.stale ? "stale" : ""}`, title: "contexts that came, and that went on" }, `${number(step.counts.entered)} → `, h("b", {}, number(step.counts.passed)), step.method === "where" && h("span", { class: "quiet" }, ` ${share(step.counts)}`)),
    h("span", { class: "tools" },
      h("button", { class: "small", title: "move up (Alt+↑)", "aria-label": `move step ${place} up`, disabled: place === 0, send: { do: "move", key: step.key, by: -1 } }, "↑"),
      h("button", { class: "small", title: "move down (Alt+↓)", "aria-label": `move step ${place} down`, disabled: place === view.steps.length - 1, send: { do: "move", key: step.key, by: 1 } }, "↓"),
      h("button", { class: "small", title: "duplicate (Alt+D)", "aria-label": `duplicate step ${place}`, send: { do: "duplicate", key: step.key } }, "2×"),
      h("select", { class: "small", title: "insert a step above", "aria-label": `insert above step ${place}`, "data-reset": true, value: "", field: { do: "add", at: place } },
        h("option", { value: "" }, "+"), ...view.operators.map((o) => h("option", { value: o.name, title: o.summary }, o.method))),
      h("button", { class: "small", title: "remove (Alt+Delete)", "aria-label": `remove step ${place}`, send: { do: "remove", key: step.key } }, "×"))),
  fields(view, step, place), problem(step.problem), out(step, place),
  step.operands.length > 0 && h("details", { class: "operands" }, h("summary", {}, "values"), h("table", {}, ...step.operands.map((o) => h("tr", {}, h("th", {}, h("bdi", {}, o.path)),
    h("td", {}, ...o.values.map(([value, n]) => [h("bdi", { class: "code" }, value), h("span", { class: "quiet" }, ` ${number(n)}  `)])))))),
  step.preview.lines?.length > 0 && h("div", { class: "lines" }, ...step.preview.lines.map((line) => h("div", { class: "preview", dir: "auto" }, h("b", {}, h("bdi", {}, line.name)), ` ${line.text}`))));

const adding = (view) => h("div", { class: "bar add" }, h("span", { class: "quiet" }, "add"), ...view.operators.map((o) =>
  h("button", { title: `${o.summary}\n${o.example}`, "data-add": true, send: { do: "add", operator: o.name } }, o.method)));

const trial = (view) => h("div", { class: "bar trial" },
  h("span", { class: "quiet" }, view.sample.whole ? `counts of all ${number(view.sample.events)} events` : `counts of the first ${number(view.sample.events)} of ${number(view.sample.all)} events`),
  view.sample.delivered !== null && h("b", {}, `${number(view.sample.delivered)} deliveries`),
  view.counting !== undefined && h("progress", { max: 1, value: view.counting, title: "counting all events" }),
  h("span", { class: "grow" }),
  view.event ? [h("span", { class: "quiet" }, "shown:"), h("span", { title: view.event.ids }, `event ${number(view.event.seq_no)}`), h("span", { class: "quiet" }, view.event.time),
    h("button", { class: "small", title: "previous event", "aria-label": "previous event", send: { do: "choose", forward: false } }, "‹"),
    h("button", { class: "small", title: "next event", "aria-label": "next event", send: { do: "choose", forward: true } }, "›")]
    : h("span", { class: "quiet" }, "no event of this kind to show"));

const finding = (f, view) => h("li", { class: f.severity }, h("span", { class: `badge ${f.severity}` }, f.severity), f.step !== null && view.steps[f.step] && h("span", { class: "quiet" }, ` ${f.step} ${view.steps[f.step].method}`), ` ${f.message} `, h("span", { class: "quiet" }, `[${f.code}]`), f.hint && h("div", { class: "quiet" }, `hint: ${f.hint}`));

const code = (made, name, file) => made.error ? h("div", { class: "problem" }, made.error) : h("div", { class: "made" },
  h("div", { class: "bar" }, h("button", { "data-copy": name }, "copy"), h("input", { class: "code", "aria-label": "file", value: file, "data-file": name }), h("button", { "data-save": name }, "save")),
  h("pre", { class: "source", tabindex: "0", "data-source": name }, made.text));

const aside = (view, state) => {
  const weighty = view.findings.filter((f) => f.severity !== "note").length;
  const tabs = [["picture", "picture"], ["python", "Python"], ["yaml", "YAML"], ["findings", `findings${view.findings.length ? ` (${view.findings.length})` : ""}`]];
  return h("div", { class: "aside" },
    h("div", { class: "bar tabs", role: "tablist" }, ...tabs.map(([name, text]) => h("button", { role: "tab", "data-tab": name, "aria-selected": state.tab === name ? "true" : "false", class: name === "findings" && weighty ? "weighty" : "" }, text))),
    h("div", { class: "tab", role: "tabpanel", "data-key": state.tab },
      state.tab === "picture" ? own(view.picture, { class: "picture" })
        : state.tab === "findings" ? (view.findings.length ? h("ul", { class: "findings" }, ...view.findings.map((f) => finding(f, view))) : h("span", { class: "quiet" }, "nothing found"))
          : code(view[state.tab], state.tab, state.files[state.tab])),
    view.saved && h("div", { class: "quiet", role: "status" }, view.saved));
};

export default {
  render({ model, el }) {
    const state = { tab: "picture", files: { python: "flow.py", yaml: "flow.yaml" }, keys: null };
    el.style.position = "relative";
    return mount(model, el, "design", (view) => [
      view.error && h("div", { class: "problem", role: "alert" }, view.error),
      top(view), trial(view),
      h("div", { class: "split" }, h("div", { class: "form" }, trigger(view), ...view.steps.map((step, place) => card(view, step, place)), adding(view)), aside(view, state)),
    ], {
      drawn: (root, view) => {
        const keys = new Set(view.steps.map((step) => step.key));
        const fresh = state.keys && [...keys].filter((key) => !state.keys.has(key));
        if (state.adding && fresh?.length === 1) {
          state.adding = false;
          const inputs = [...root.querySelectorAll(`[data-step="${fresh[0]}"] :is(.fields, .rows) :is(input, textarea)`)];
          (inputs.find((input) => !input.value) ?? inputs[0])?.focus();
        }
        if (state.entered) {
          // to the name of the row that Enter added, once it is there, unless the reader went elsewhere meanwhile
          const names = root.querySelectorAll(`[data-step="${state.entered.key}"] .row > input`), stayed = focused(root) === state.entered.from;
          if (!stayed || names.length > state.entered.rows) { if (stayed) names[names.length - 1].focus(); state.entered = null; }
        }
        state.keys = keys;
      },
      start: (root, { send, flush, render, view }) => {
        const close = completion(root, (node) => {
          const offers = view().offers, name = node.dataset.offers;
          if (name === "paths") return (offers.scopes[Number(node.dataset.place)] ?? []).flatMap((variable) => offers.variables[variable] ?? []);
          return name === "examples" ? JSON.parse(node.dataset.examples).map((text) => [text, ""]) : offers[name] ?? [];
        });
        root.addEventListener("click", (event) => {
          const tab = event.target.closest("[data-tab]"), copy = event.target.closest("[data-copy]"), save = event.target.closest("[data-save]");
          if (event.target.closest("[data-add]")) state.adding = true;
          if (tab) { state.tab = tab.dataset.tab; render(); }
          if (copy) { const text = view()[copy.dataset.copy].text; navigator.clipboard?.writeText(text).then(() => { copy.textContent = "copied"; setTimeout(() => { copy.textContent = "copy"; }, 1200); }); }
          if (save) send({ do: "save", value: root.querySelector(`[data-file="${save.dataset.save}"]`).value });
        });
        root.addEventListener("input", (event) => { if (event.target.dataset?.file) state.files[event.target.dataset.file] = event.target.value; });
        root.addEventListener("change", (event) => { if (event.target.matches?.("select[data-reset]")) state.adding = true; }, true);
        root.addEventListener("keydown", (event) => {
          const step = event.target.closest?.("[data-step]"), key = step && Number(step.dataset.step);
          const ctrl = event.ctrlKey || event.metaKey, letter = event.key.toLowerCase();
          let message = null;
          if (ctrl && letter === "z") message = { do: event.shiftKey ? "redo" : "undo" };
          else if (ctrl && letter === "y") message = { do: "redo" };
          else if (event.altKey && step && event.key === "ArrowUp") message = { do: "move", key, by: -1 };
          else if (event.altKey && step && event.key === "ArrowDown") message = { do: "move", key, by: 1 };
          else if (event.altKey && step && event.key === "Delete") message = { do: "remove", key };
          else if (event.altKey && step && letter === "d") message = { do: "duplicate", key };
          else if (event.key === "Enter" && !event.shiftKey && event.target.closest?.(".row")) { flush(); message = { do: "add_row", key }; state.entered = { key, rows: step.querySelectorAll(".row > input").length, from: event.target }; }
          if (message) { event.preventDefault(); event.stopPropagation(); send(message); }
        });
        return close;
      },
    });
  },
};
