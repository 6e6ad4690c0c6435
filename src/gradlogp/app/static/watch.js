// (a) Chains of any model, live, with the energy of each and how far it moves.

import { Stream, choice, control, h, modelChoice, models, nothing, number, typing, words } from "./base.js";
import { Grid } from "./pixels.js";
import { lines } from "./plot.js";

const KEPT = 400; // points of a trace

export async function watch() {
  const list = await models(true);
  const picked = modelChoice(list, () => { settle(); begin(); });
  const head = [
    h("h1", {}, "Watch chains walk"),
    h("p", { class: "lead" }, "Every picture is a chain: it begins as noise or as a blur, and each step follows the model a little way towards what is more likely."),
  ];
  if (!picked.good.length) return { element: h("section", {}, ...head, nothing()), show() {}, hide() {} };

  const sampler = choice("Sampler", [], { onchange: () => begin() });
  const steps = control("Steps", "number", { min: "1", max: "5000", onchange: () => begin() });
  const temperature = control("Temperature", "range", { min: "-1", max: "1", step: "0.05", value: "0", says: (v) => number(10 ** v), onchange: () => begin() });
  const cls = choice("Class", [], { onchange: () => begin() });
  const seed = control("Seed", "number", { min: "0", max: "4294967295", value: "0", onchange: () => begin() });
  const story = h("p");
  const learned = h("p", { class: "story" });
  const grid = h("div", { class: "grid", "aria-label": "Sixteen chains", role: "group" });
  const stage = h("div", { class: "stage" });
  const status = h("p", { class: "status", role: "status" });
  const play = h("button", { class: "main", type: "button", onclick: () => toggle() }, "Pause");
  const step = h("button", { type: "button", onclick: () => once() }, "One step");
  const reset = h("button", { type: "button", onclick: () => begin() }, "Reset");
  const dice = h("button", { type: "button", onclick: () => { seed.input.value = Math.floor(Math.random() * 1e6); begin(); } }, "New noise");
  const speed = choice("Steps in a frame", [1, 2, 5, 10, 25].map((n) => [n, n === 1 ? "1 step a frame" : `${n} steps a frame`]), { onchange: () => pace() });
  speed.box.firstChild.remove();
  const energyChart = h("canvas", { class: "chart" });
  const movedChart = h("canvas", { class: "chart" });
  const energyNow = h("span");
  const movedNow = h("span");
  const energyName = h("b", {}, "Energy");
  const shown = new Grid(grid, 4, () => draw(), 176);
  const stream = new Stream("/ws/chains", onframe);
  let traces, times = [], drawn = false;

  stage.append(
    grid,
    h("div", { class: "bar" }, play, step, reset, dice, h("span", { class: "push" }, speed.box)),
    status,
    h("p", { class: "quiet hide-small" }, h("kbd", {}, "Space"), " pauses, ", h("kbd", {}, "→"), " takes one step, ", h("kbd", {}, "R"), " begins again; click a chain to follow its line."),
  );
  const side = h("aside", { class: "side" },
    h("div", { class: "card" }, h("div", { class: "fields" }, picked.box, sampler.box, steps.box, temperature.box, cls.box, seed.box), learned, h("details", {}, h("summary", {}, "How it learned"), story)),
    h("div", { class: "card" },
      h("figure", {}, h("figcaption", {}, energyName, energyNow), energyChart),
      h("figure", {}, h("figcaption", {}, h("b", {}, "Distance moved in one step"), movedNow), movedChart)),
  );
  const element = h("section", {}, ...head, h("div", { class: "split" }, stage, side));

  function settle() {
    const model = picked.model();
    sampler.fill(model.samplers.map((name) => [name, words(name)]));
    sampler.input.value = model.sampler;
    sampler.input.disabled = steps.input.disabled = temperature.input.disabled = !model.samplers.length;
    steps.box.firstChild.textContent = model.walks || !model.samplers.length ? "Steps" : "Noise levels";
    steps.input.value = model.steps;
    temperature.input.value = 0;
    temperature.write();
    cls.fill([["", "each in turn"], ...model.classes.map((name, i) => [i, name])]);
    cls.input.disabled = !model.classes.length;
    learned.textContent = `${model.title}; it learned ${model.dataset}.`;
    story.textContent = model.story;
    speed.input.value = model.walks && model.steps > 100 ? 2 : 1;
  }

  function begin() {
    const model = picked.model();
    traces = { energy: [], moved: [], level: [] };
    times = [];
    const asked = { run: model.name, seed: +seed.input.value || 0, n: 16 };
    if (model.samplers.length) {
      Object.assign(asked, { temperature: 10 ** +temperature.input.value });
      if (sampler.input.value !== model.sampler) asked.sampler = sampler.input.value;
      if (+steps.input.value !== model.steps) asked.steps = +steps.input.value;
    }
    if (cls.input.value !== "") asked.cls = +cls.input.value;
    stream.stride = +speed.input.value;
    stream.begin(asked);
    label();
  }

  function pace() {
    stream.stride = +speed.input.value;
    stream.send({ do: "stride", steps: stream.stride });
  }

  function toggle() {
    const over = element.dataset.done === "true";
    if (over) return begin();
    stream.go(!stream.going);
    label();
  }

  function once() {
    stream.go(false);
    stream.send({ do: "step", steps: 1 });
    label();
  }

  function label() {
    play.textContent = stream.going ? "Pause" : element.dataset.done === "true" ? "Again" : "Go on";
  }

  function onframe(frame, data) {
    if (!frame) return label();
    shown.frame(frame, data);
    keep(frame);
    times.push(performance.now());
    times = times.filter((t) => t > performance.now() - 1000);
    element.dataset.step = frame.step;
    element.dataset.done = frame.done;
    const extra = frame.level != null ? `, noise level ${number(frame.level)}` : frame.accept != null ? `, ${Math.round(100 * frame.accept)} % accepted` : "";
    status.textContent = `Step ${frame.step} of ${frame.of}${extra}${stream.going && times.length > 2 ? `, ${times.length} frames a second` : ""}${frame.done ? ", done" : ""}`;
    label();
    if (!drawn) { drawn = true; requestAnimationFrame(() => { drawn = false; draw(); }); }
  }

  function keep(frame) {
    for (const [name, value] of [["energy", frame.energy], ["moved", frame.step ? frame.moved : null], ["level", frame.level == null ? null : [frame.level]]]) {
      if (value) traces[name].push([frame.step, value]);
      if (traces[name].length > KEPT) traces[name] = traces[name].filter((_, i) => i % 2 === 0);
    }
  }

  function draw() {
    const energy = traces.energy.length ? traces.energy : traces.level;
    const known = traces.energy.length > 0;
    energyName.textContent = known ? "Energy (low = likely)" : "Noise level";
    trace(energyChart, energy, energyNow, known ? "Energy" : "Noise level");
    trace(movedChart, traces.moved, movedNow, "Distance moved");
  }

  function trace(canvas, kept, now, what) {
    if (!kept.length) { now.textContent = ""; return; }
    const count = kept[0][1].length;
    const of = (i) => kept.map(([x, values]) => [x, values[i]]);
    const mean = kept.map(([x, values]) => [x, values.reduce((a, b) => a + (b ?? 0), 0) / values.length]);
    const one = shown.chosen >= 0 && count > 1;
    const front = one ? of(shown.chosen) : mean;
    lines(canvas, [...(count > 1 ? Array.from({ length: count }, (_, i) => ({ points: of(i), style: "quiet" })) : []), { points: front, style: "accent" }], what);
    now.textContent = `${one ? `chain ${shown.chosen + 1}` : count > 1 ? "mean" : ""} ${number(front.at(-1)[1])}`;
  }

  function key(event) {
    if (typing(event.target) || event.target.closest("button, [role=button]") && event.key === " " || event.ctrlKey || event.metaKey) return;
    const does = { " ": toggle, ArrowRight: once, r: begin, R: begin }[event.key];
    if (!does || (event.key === "ArrowRight" && event.target.type === "range")) return;
    event.preventDefault();
    does();
  }

  settle();
  return {
    element,
    show() {
      document.addEventListener("keydown", key);
      begin();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) stream.go(false);
    },
    hide() { document.removeEventListener("keydown", key); stream.close(); },
    repaint: draw,
  };
}
