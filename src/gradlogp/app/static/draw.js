// (b) A canvas: the model restores what is drawn while it is drawn, says how likely it finds it, and
// fills in what is rubbed out.

import { Stream, ask, bytes, choice, colour, complain, control, faint, h, latest, modelChoice, models, nothing, number } from "./base.js";
import { Grid, magnification, magnify, paint } from "./pixels.js";
import { lines } from "./plot.js";

const KEPT = 200; // energies of the drawing, as it grew

/** What was drawn last, for the other views. */
export const drawing = { shape: null, pixels: null };

export async function draw() {
  const list = await models(true);
  const picked = modelChoice(list, () => settle(), (m) => m.kind === "picture", (m) => m.samplers.length && !m.walks);
  const head = [
    h("h1", {}, "Draw, and see what the model makes of it"),
    h("p", { class: "lead" }, "Draw on the left: the model answers with the nearest picture that it believes in, and with how likely it finds yours. Rub out a part, and it fills it in."),
  ];
  if (!picked.good.length) return { element: h("section", {}, ...head, nothing()), show() {}, hide() {} };

  const pad = h("canvas", { class: "pad", tabindex: "0", "aria-label": "Your drawing. Arrow keys move the brush, Space paints." });
  const out = h("canvas", { "aria-label": "What the model makes of it", role: "img" });
  const pull = h("canvas", { class: "pull", "aria-label": "Where the score wants more light, and where less", role: "img" });
  const tools = ["Draw", "Erase", "Rub out"].map((name, i) => h("label", {}, h("input", { type: "radio", name: "tool", value: name, checked: i === 0 }), name));
  const sigma = control("Noise it allows for", "range", { min: "0.05", max: "0.6", step: "0.05", value: "0.3", oninput: () => answer() }, true);
  const cls = choice("Fill in as", []);
  const energy = h("p", { class: "big" }, "–");
  const energyChart = h("canvas", { class: "chart" });
  const energyBy = h("p", { class: "quiet" });
  const bars = h("div", { class: "bars" });
  const by = h("p", { class: "quiet" });
  const teach = h("button", { type: "button", hidden: true, onclick: () => learn() }, "Teach a classifier");
  const says = h("p", { class: "quiet" }, "Asking the model; the first answer of an energy takes longest.");
  const fill = h("button", { type: "button", class: "main", onclick: () => complete() }, "Fill in");
  const walk = h("button", { type: "button", onclick: () => wander() }, "Let it walk");
  const filled = h("div", { class: "grid", role: "group", "aria-label": "Completions" });
  const status = h("p", { class: "status", role: "status" });
  const grid = new Grid(filled, 4, (i) => i >= 0 && take(i), 140);
  const stream = new Stream("/ws/chains", onframe);
  let shape, pixels, missing, times, cursor, history = [], last, example = 0, score;

  const element = h("section", {}, ...head, h("div", { class: "split" },
    h("div", { class: "stage" },
      h("div", { class: "pads" },
        h("figure", {}, h("figcaption", {}, h("b", {}, "Yours")), pad),
        h("figure", {}, h("figcaption", {}, h("b", {}, "The model’s")), out),
        h("figure", {}, h("figcaption", {}, h("b", {}, "Its pull"), h("span", {}, "lighter ● darker ○")), pull)),
      h("div", { class: "bar" },
        h("span", { class: "choice", role: "radiogroup", "aria-label": "Tool" }, ...tools),
        h("button", { type: "button", onclick: () => noise() }, "Add noise"),
        h("button", { type: "button", onclick: () => sample() }, "An example"),
        h("button", { type: "button", onclick: () => clear() }, "Clear")),
      h("div", { class: "bar" }, fill, walk, h("span", {}, cls.box)),
      status, filled,
      h("p", { class: "quiet" }, "“Fill in” completes what is rubbed out; “Let it walk” starts chains at your drawing. Click one of them to go on drawing from it.")),
    h("aside", { class: "side" },
      h("div", { class: "card" }, h("div", { class: "fields" }, picked.box, sigma.box), says),
      h("div", { class: "card" }, h("h2", {}, "Energy of your drawing"), energy, energyChart, energyBy),
      h("div", { class: "card" }, h("h2", {}, "Which class"), bars, by, teach)),
  ));

  const tool = () => element.querySelector("[name=tool]:checked").value;

  function settle() {
    const model = picked.model();
    cls.fill([["", "any"], ...model.classes.map((name, i) => [i, name])]);
    cls.input.disabled = !model.classes.length;
    fill.disabled = walk.disabled = !model.samplers.length;
    history = [];
    stream.close();
    filled.replaceChildren();
    status.textContent = "";
    if (String(shape) !== String(model.shape)) {
      shape = model.shape;
      blank();
      sample();
    } else answer();
  }

  function clear() {
    blank();
    answer();
  }

  function blank() {
    const size = shape.reduce((a, b) => a * b);
    pixels = new Float32Array(size);
    missing = new Uint8Array(shape[1] * shape[2]);
    cursor = [shape[2] >> 1, shape[1] >> 1];
    history = [];
    fit();
    show();
  }

  function fit() {
    const room = element.querySelector(".pads").clientWidth || 340;
    const across = room > 620 ? 3 : room > 300 ? 2 : 1;
    times = magnification(room, across, shape[2], 20, 260);
    [pad, out].forEach((canvas) => magnify(canvas, shape, times));
    pull.style.width = `${shape[2] * times}px`;
    pull.style.height = `${shape[1] * times}px`;
  }

  function show() {
    paint(pad, shape, pixels.map((v) => Math.round(255 * Math.max(0, Math.min(1, v)))));
    const context = pad.getContext("2d");
    context.fillStyle = colour("accent");
    missing.forEach((gone, i) => gone && context.fillRect(i % shape[2], Math.floor(i / shape[2]), 1, 1));
    if (document.activeElement === pad && pad.matches(":focus-visible")) {
      context.strokeStyle = colour("accent");
      context.lineWidth = 0.34;
      context.strokeRect(cursor[0] + 0.17, cursor[1] + 0.17, 0.66, 0.66);
    }
    Object.assign(drawing, { shape, pixels: Array.from(pixels) });
  }

  const numbers = () => Array.from(pixels, (v) => +v.toFixed(3));

  const asking = () => ({ run: picked.model().name, pixels: numbers(), sigma: +sigma.input.value });

  function answer() {
    weigh();
    restore();
  }

  const restore = latest(async () => {
    const asked = asking();
    let found;
    try { found = await ask("/api/restore", asked); } catch (error) { found = { says: error.message }; }
    if (!found || asked.run !== picked.model().name) return;
    if (found.restored) paint(out, shape, bytes(found.restored));
    out.style.visibility = found.restored ? "" : "hidden";
    says.textContent = `${found.says[0].toUpperCase()}${found.says.slice(1).replace(/\.$/, "")}.`;
  });

  const weigh = latest(async () => {
    const asked = asking();
    const found = await ask("/api/weigh", asked);
    const model = picked.model();
    if (!found || asked.run !== model.name) return;
    const has = found.energy != null;
    energy.textContent = has ? number(found.energy, 4) : "–";
    energyBy.textContent = has ? `Low means likely${found.energy_by === model.name ? "" : `, says ${found.energy_by}`}. Watch it fall as your strokes become a picture.` : "No model in the list has an energy of these pictures.";
    energyChart.hidden = !has;
    if (has) { history.push(found.energy); history = history.slice(-KEPT); }
    score = found.score;
    classes(found, model);
    repaint();
    element.dataset.answers = +(element.dataset.answers ?? 0) + 1;
  });

  async function learn() {
    teach.disabled = true;
    teach.textContent = "It learns; seconds for digits, minutes for MNIST …";
    try { await ask("/api/teach", { run: picked.model().name }); } catch (error) { complain(error); }
    teach.disabled = false;
    teach.textContent = "Teach a classifier";
    weigh();
  }

  function classes(found, model) {
    const names = model.classes.length ? model.classes : found.classes?.map((_, i) => String(i));
    by.textContent = found.classes ? `By ${found.classes_by === model.name ? "this model itself" : found.classes_by}.` : "No model in the list tells classes of these pictures.";
    teach.hidden = found.taught;
    const best = found.classes ? found.classes.indexOf(Math.max(...found.classes)) : -1;
    bars.replaceChildren(...(found.classes ?? []).map((p, i) => {
      const bar = h("i");
      bar.style.width = `${Math.round(100 * p)}%`;
      return h("div", { class: i === best ? "best" : "" }, h("b", {}, names[i]), bar, h("b", {}, `${Math.round(100 * p)} %`));
    }));
  }

  function repaint() {
    if (history.length > 1) lines(energyChart, [{ points: history.map((e, i) => [i, e]), style: "accent" }], "Energy of the drawing", "stroke");
    const dots = window.devicePixelRatio || 1;
    pull.width = shape[2] * times * dots;
    pull.height = shape[1] * times * dots;
    const context = pull.getContext("2d");
    context.fillStyle = colour("sheet");
    context.fillRect(0, 0, pull.width, pull.height);
    if (!score) return;
    const side = times * dots;
    context.strokeStyle = faint("ink", 0.7);
    context.fillStyle = colour("accent");
    context.lineWidth = dots;
    score.forEach((v, i) => {
      const r = Math.sqrt(Math.abs(v ?? 0)) * side * 0.46;
      if (r < 0.6 * dots) return;
      context.beginPath();
      context.arc((i % shape[2] + 0.5) * side, (Math.floor(i / shape[2]) + 0.5) * side, r, 0, 7);
      v > 0 ? context.fill() : context.stroke();
    });
  }

  function dab(x, y) {
    const [channels, height, width] = shape;
    const wide = width / 22;
    const kind = tool();
    for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) {
      const far = Math.hypot(column - x, row - y);
      const at = row * width + column;
      if (kind === "Rub out") { if (far < 1.6 * wide + 0.3) { missing[at] = 1; for (let c = 0; c < channels; c++) pixels[c * height * width + at] = 0.5; } continue; }
      const strength = Math.max(0, Math.min(1, 1.25 - 0.72 * far / Math.max(0.62, wide)));
      if (!strength) continue;
      missing[at] = 0;
      for (let c = 0; c < channels; c++) {
        const i = c * height * width + at;
        pixels[i] = kind === "Erase" ? Math.min(pixels[i], 1 - strength) : Math.max(pixels[i], strength);
      }
    }
  }

  function stroke(event) {
    if (!event.buttons) { last = null; return; }
    const box = pad.getBoundingClientRect();
    const at = [((event.clientX - box.left) / box.width) * shape[2] - 0.5, ((event.clientY - box.top) / box.height) * shape[1] - 0.5];
    const from = last ?? at;
    const far = Math.max(1, Math.ceil(2 * Math.hypot(at[0] - from[0], at[1] - from[1])));
    for (let i = 1; i <= far; i++) dab(from[0] + ((at[0] - from[0]) * i) / far, from[1] + ((at[1] - from[1]) * i) / far);
    last = at;
    show();
    answer();
  }

  pad.onpointerdown = (event) => { last = null; pad.setPointerCapture(event.pointerId); stroke(event); };
  pad.onpointermove = stroke;
  pad.onpointerup = () => (last = null);
  pad.onfocus = pad.onblur = () => show();
  pad.onkeydown = (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    if (move) cursor = [Math.max(0, Math.min(shape[2] - 1, cursor[0] + move[0])), Math.max(0, Math.min(shape[1] - 1, cursor[1] + move[1]))];
    if (event.key === " " || event.shiftKey) { dab(...cursor); answer(); }
    show();
  };

  function noise() {
    const level = +sigma.input.value;
    const gauss = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    pixels = pixels.map((v) => v + level * gauss());
    show();
    answer();
  }

  async function sample() {
    try {
      const found = await ask("/api/example", { run: picked.model().name, index: example++ });
      if (found) place(bytes(found.pixels));
    } catch (error) { if (example > 1) complain(error); answer(); }
  }

  function place(data) {
    pixels = Float32Array.from(data, (v) => v / 255);
    missing.fill(0);
    history = [];
    show();
    answer();
  }

  function asked(more) {
    const model = picked.model();
    const cond = cls.input.value === "" ? {} : { cls: +cls.input.value };
    stream.stride = model.walks ? 4 : 1;
    return { run: model.name, n: 4, seed: Math.floor(Math.random() * 1e6), pixels: numbers(), ...cond, ...more };
  }

  const complete = () => missing.some((m) => m) ? stream.begin(asked({ free: Array.from(missing, Boolean) })) : complain(new Error("Nothing is rubbed out yet: choose “Rub out” and wipe over a part of your drawing."));
  const wander = () => stream.begin(asked({}));

  let frame;
  function onframe(now, data) {
    if (!now) return;
    frame = { now, data };
    grid.frame(now, data);
    status.textContent = `Step ${now.step} of ${now.of}${now.done ? ", done" : ""}`;
    element.dataset.step = now.step;
    element.dataset.done = now.done;
  }

  function take(i) {
    const size = shape.reduce((a, b) => a * b);
    stream.go(false);
    place(frame.data.slice(i * size, (i + 1) * size));
  }

  return {
    element,
    show() { settle(); },
    hide() { stream.close(); },
    repaint() { fit(); show(); repaint(); },
  };
}
