// What every view needs: elements, requests, a stream of frames, and the page's colours.

const PAGE = Math.random().toString(36).slice(2);

/** An element: h("button", {onclick}, "Go"). Attributes that are functions listen. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && typeof value !== "string") element[name] = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** The answer of the server; throws its one line, and null where a newer request took its place. */
export async function ask(path, body) {
  const post = body !== undefined;
  const options = post
    ? { method: "POST", headers: { "content-type": "application/json", "x-page": PAGE }, body: JSON.stringify(body) }
    : {};
  const answer = await fetch(path, options);
  if (answer.status === 409) return null;
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

let clearing;
export function complain(error) {
  const box = document.getElementById("alert");
  box.textContent = error.message ?? String(error);
  box.hidden = false;
  clearTimeout(clearing);
  clearing = setTimeout(() => (box.hidden = true), 8000);
}

/** Calls `work` again and again with the newest wish, never twice at a time. */
export function latest(work) {
  let busy = false;
  let again = false;
  return async function run() {
    if (busy) { again = true; return; }
    busy = true;
    try { await work(); } catch (error) { complain(error); }
    busy = false;
    if (again) { again = false; run(); }
  };
}

/** Chains of the server: frames come as (header, bytes); words go as objects. */
export class Stream {
  constructor(path, onframe) {
    this.path = path;
    this.onframe = onframe;
    this.stride = 1;
  }

  begin(asked, going = true) {
    this.going = going;
    this.send({ do: "begin", ...asked });
    this.send({ do: "stride", steps: this.stride });
    this.send({ do: going ? "go" : "pause" });
  }

  send(word) {
    if (!this.socket || this.socket.readyState > 1) this.open();
    if (this.socket.readyState === 0) this.waiting.push(word);
    else this.socket.send(JSON.stringify(word));
  }

  go(going) {
    this.going = going;
    this.send({ do: going ? "go" : "pause" });
  }

  open() {
    this.waiting = [];
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${this.path}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.waiting.splice(0).forEach((word) => socket.send(JSON.stringify(word)));
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        this.going = false;
        complain(JSON.parse(data).error);
        return this.onframe(null);
      }
      const size = new DataView(data).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
      if (head.done) this.going = false;
      this.onframe(head, new Uint8Array(data, 4 + size));
    };
    socket.onclose = () => { this.going = false; this.onframe(null); };
    this.socket = socket;
  }

  close() {
    this.going = false;
    if (this.socket) { this.socket.onclose = null; this.socket.close(); }
  }
}

/** The colour that a CSS variable has now. */
export function colour(name) {
  const probe = document.getElementById("probe") ?? document.body.appendChild(h("i", { id: "probe", hidden: true }));
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** The same with another opacity. */
export const faint = (name, alpha) => colour(name).replace(/^rgba?\(([^,]+,[^,]+,[^,)]+).*$/, `rgba($1, ${alpha})`);

const controls = { number: "number", range: "range", text: "text" };

/** A labelled control; its value is read from .value. */
export function control(label, kind, attributes = {}, wide = false) {
  const input = h("input", { type: controls[kind], "aria-label": label, ...attributes });
  const shown = kind === "range" ? h("output") : null;
  const write = () => shown && (shown.textContent = attributes.says ? attributes.says(+input.value) : input.value);
  input.addEventListener("input", write);
  write();
  const box = h("label", wide ? { class: "wide" } : {}, label, shown, input);
  return { box, input, write };
}

export function choice(label, options, attributes = {}, wide = false) {
  const input = h("select", { "aria-label": label, ...attributes });
  const fill = (list) => input.replaceChildren(...list.map(([value, text]) => h("option", { value }, text)));
  fill(options);
  return { box: h("label", wide ? { class: "wide" } : {}, label, input), input, fill };
}

export const words = (name) => name.replaceAll("_", " ");
export const number = (x, digits = 3) => (x == null ? "–" : Math.abs(x) >= 1e5 || (x && Math.abs(x) < 1e-3) ? x.toExponential(1) : String(+x.toPrecision(digits))).replace("-", "−");
export const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
export const typing = (target) => target.closest("input:not([type=range]), select, textarea, [contenteditable]");

let known;
/** The models that can be shown. */
export async function models(fresh = false) {
  if (!known || fresh) known = (await ask("/api/models")).models;
  return known;
}

const isEnergy = (model) => model.walks && !model.classes.length;

/** A choice among models that fit; at first the first of those that one prefers, such as an energy. */
export function modelChoice(list, onchange, fits = () => true, prefers = isEnergy) {
  const good = list.filter((m) => !m.wrong && fits(m));
  const picked = choice("Model", good.map((m) => [m.name, m.name]), { onchange }, true);
  const first = good.find(prefers) ?? good[0];
  if (first) picked.input.value = first.name;
  return { ...picked, good, model: () => good.find((m) => m.name === picked.input.value) };
}

export const nothing = (text) =>
  h("p", { class: "empty" }, text ?? "There is no model here yet. Train one under “Train”; a small one takes a few minutes.");
