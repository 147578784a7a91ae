// Elements from a view: what is drawn is compared with what is there, so that fields keep their focus and cursor.
// Text of data is only ever set as text.

const h = (tag, props = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "value") node.value = value;
    else if (name === "checked") node.checked = value;
    else if (name === "send" || name === "field") node.setAttribute(`data-${name}`, JSON.stringify(value));
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...kids.flat(3).filter((kid) => kid !== null && kid !== undefined && kid !== false).map(node_of));
  if (tag === "select") node.value = props.value ?? "";
  return node;
};
// What turns the direction of text around is shown, not obeyed.
const plain = (text) => text.replace(/[\u202A-\u202E\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);
const node_of = (kid) => (kid instanceof Node ? kid : document.createTextNode(plain(String(kid))));
const number = (n) => n.toLocaleString("en-GB");

// A notebook may draw a widget in a shadow tree of its own, as marimo does.
const focused = (node) => node.getRootNode().activeElement ?? document.activeElement;
const typing = (node) => node === focused(node) && ["INPUT", "TEXTAREA"].includes(node.tagName) && node.type !== "checkbox";

// The children of a node by what tells them apart: their key, else their sort and how many of it came before.
const keyed = (node) => {
  const found = new Map(), seen = {};
  for (const kid of node.childNodes) {
    const sort = kid.dataset?.key ?? `${kid.nodeName} ${kid.type ?? ""} ${kid.classList?.[0] ?? ""}`;
    seen[sort] = (seen[sort] ?? 0) + 1;
    found.set(`${sort} ${seen[sort]}`, kid);
  }
  return found;
};

const morph = (old, fresh, force) => {
  // what the reader has opened stays open
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.hasAttribute("data-html")) {
    if (old.html !== fresh.html) { old.innerHTML = fresh.html; old.html = fresh.html; }
    return;
  }
  const fresher = keyed(fresh), kept = keyed(old);
  // those that are gone go first, so that those that stay need not be moved, which would take their focus
  for (const [key, kid] of kept) if (!fresher.has(key)) kid.remove();
  let at = old.firstChild;
  for (const [key, kid] of fresher) {
    const same = kept.get(key);
    if (!same) { old.insertBefore(kid, at); continue; }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    if (same.nodeType === Node.TEXT_NODE) { if (same.data !== kid.data) same.data = kid.data; }
    else morph(same, kid, force);
  }
  // after its options are there
  if ("value" in fresh && old.tagName !== "BUTTON" && old.tagName !== "OPTION" && (force || !typing(old)) && old.value !== fresh.value) old.value = fresh.value;
  if (old.type === "checkbox") old.checked = fresh.checked;
};

// Markup that flowdsl itself made, such as a picture.
const own = (html, props = {}) => {
  const node = h("div", { ...props, "data-html": true });
  node.html = html;
  node.innerHTML = html;
  return node;
};

// Draws `draw(view)` into `el` whenever the view changes; sends what is clicked (`send`) and typed (`field`).
const mount = (model, el, name, draw, extra = () => {}) => {
  const root = h("div", { class: `flowdsl ${name}`, "data-lm-suppress-shortcuts": "true", tabindex: "-1" });
  const fallback = model.get("fallback");
  el.append(h("style", {}, `.jp-OutputArea-child:has(#${fallback}) { display: none; }`), root);
  let waiting = null, timer = null, version = null;
  const flush = () => {
    clearTimeout(timer);
    if (waiting) { const message = waiting; waiting = null; model.send(message); }
  };
  const send = (message) => { flush(); model.send(message); };
  const type = (message) => {
    if (waiting && (waiting.do !== message.do || waiting.key !== message.key || waiting.name !== message.name)) flush();
    waiting = message;
    clearTimeout(timer);
    timer = setTimeout(flush, 25);
  };
  const valueOf = (node) => (node.type === "checkbox" ? node.checked : node.value);
  const render = () => {
    const view = model.get("view");
    if (!Object.keys(view).length) return;
    const fresh = h("div", {}, draw(view));
    for (const { name: attribute, value } of [...root.attributes]) fresh.setAttribute(attribute, value);
    const active = focused(root);
    morph(root, fresh, version !== null && view.version !== version);
    if (active !== focused(root) && active !== root && root.contains(active)) active.focus();
    version = view.version ?? null;
    extra.drawn?.(root, view);
  };
  root.addEventListener("click", (event) => {
    const node = event.target.closest("[data-send]");
    if (node && root.contains(node) && !node.disabled) send(JSON.parse(node.dataset.send));
  });
  root.addEventListener("input", (event) => {
    const node = event.target.closest("[data-field]");
    if (node && ["INPUT", "TEXTAREA"].includes(node.tagName) && node.type !== "checkbox") type({ ...JSON.parse(node.dataset.field), value: node.value });
  });
  root.addEventListener("change", (event) => {
    const node = event.target.closest("[data-field]");
    if (!node) return;
    const message = { ...JSON.parse(node.dataset.field), value: valueOf(node) };
    if (node.tagName === "SELECT" || node.type === "checkbox") send(message);
    else flush();
    if (node.hasAttribute("data-reset")) node.value = "";
  });
  model.on("change:view", render);
  const undo = extra.start?.(root, { send, flush, render, view: () => model.get("view") });
  render();
  return () => { model.off("change:view", render); undo?.(); };
};
