// Completion below a field: the word at the cursor, what is offered for it, and a list to choose from.

// What is typed at the cursor: where it begins, its text, and what has to stand around a choice; null where nothing fits.
const wordAt = (node) => {
  const kind = node.dataset.word, before = node.value.slice(0, node.selectionStart), after = node.value.slice(node.selectionStart);
  if (kind === "whole") return { start: 0, end: node.value.length, text: before.trim(), head: "", tail: "" };
  if (kind === "list") {
    const start = before.lastIndexOf(",") + 1, text = before.slice(start);
    return { start, end: before.length + after.search(/,|$/), text: text.trim(), head: start ? " " : "", tail: "" };
  }
  const text = before.match(/[\w.\u0080-\uffff]*$/u)[0], start = before.length - text.length;
  const end = before.length + after.match(/^[\w.\u0080-\uffff]*/u)[0].length;
  if (kind === "template") {
    const open = Math.max(before.lastIndexOf("{{"), before.lastIndexOf("{%"));
    if (open < 0 || open < Math.max(before.lastIndexOf("}}"), before.lastIndexOf("%}"))) return null;
    if ((before.slice(open).match(/"/g) ?? []).length % 2 || /\|\s*\w*$/.test(before)) return null;
    const close = before.slice(open, open + 2) === "{{" ? "}}" : "%}";
    const rest = node.value.slice(end), closed = /^[^{]*?(\}\}|%\})/.test(rest);
    return { start, end, text, head: start === open + 2 ? " " : "", tail: closed ? "" : ` ${close}` };
  }
  if ((before.match(/"/g) ?? []).length % 2 || (before.match(/'/g) ?? []).length % 2) return null;
  return { start, end, text, head: "", tail: "" };
};

// Those offers that begin with a text first, then those that have it somewhere.
const fitting = (offers, text) => {
  const wanted = text.toLowerCase();
  const starts = offers.filter(([name]) => name.toLowerCase().startsWith(wanted));
  const inside = offers.filter(([name]) => !name.toLowerCase().startsWith(wanted) && name.toLowerCase().includes(wanted));
  return [...starts, ...inside].slice(0, 60);
};

const completion = (root, offersOf) => {
  const list = h("div", { class: "complete", role: "listbox", hidden: true });
  let node = null, word = null, found = [], at = -1;
  const close = () => { list.remove(); node?.removeAttribute("aria-activedescendant"); node = null; };
  const paint = () => {
    list.replaceChildren(...found.map(([name, note], i) => h("div", { role: "option", id: `flowdsl-offer-${i}`, "data-offer": i, "aria-selected": i === at ? "true" : "false" },
      h("bdi", {}, name), note && h("span", { class: "quiet" }, note))));
    list.children[at]?.scrollIntoView({ block: "nearest" });
    if (at >= 0) node.setAttribute("aria-activedescendant", `flowdsl-offer-${at}`);
  };
  const open = (target) => {
    node = target;
    word = wordAt(node);
    found = word ? fitting(offersOf(node), word.text) : [];
    if (!found.length || (found.length === 1 && found[0][0] === word.text)) return close();
    at = -1;
    paint();
    list.hidden = false;
    const box = node.getBoundingClientRect();
    root.parentNode.append(list);
    const around = list.offsetParent?.getBoundingClientRect() ?? root.getBoundingClientRect();
    list.style.left = `${box.left - around.left}px`;
    list.style.top = `${box.bottom - around.top + 2}px`;
    list.style.minWidth = `${Math.min(box.width, 360)}px`;
  };
  const choose = (i) => {
    const [name] = found[i], target = node, { start, end, head, tail } = word;
    const cursor = start + head.length + name.length + tail.length;
    target.value = target.value.slice(0, start) + head + name + tail + target.value.slice(end);
    target.setSelectionRange(cursor, cursor);
    close();
    target.dispatchEvent(new Event("input", { bubbles: true }));
    close();
  };
  const offers = (event) => event.target.closest?.("[data-word]");
  root.addEventListener("input", (event) => { const target = offers(event); if (target) open(target); });
  root.addEventListener("focusin", (event) => { const target = offers(event); if (target && !target.value) open(target); });
  root.addEventListener("click", (event) => { const target = offers(event); if (target && target !== node) open(target); });
  root.addEventListener("focusout", close);
  list.addEventListener("mousedown", (event) => { event.preventDefault(); const chosen = event.target.closest("[data-offer]"); if (chosen) choose(Number(chosen.dataset.offer)); });
  root.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey && offers(event)) { event.preventDefault(); open(offers(event)); return; }
    if (!node || event.target !== node) return;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (moves[event.key] && !event.altKey) { at = (at + moves[event.key] + found.length + (at < 0 && moves[event.key] < 0 ? 1 : 0)) % found.length; paint(); }
    else if ((event.key === "Enter" || event.key === "Tab") && at >= 0) choose(at);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  return close;
};
