// (f) Training: begin one, watch it, stop it. The same words go on where it stopped.

import { ask, choice, complain, control, h, number, words } from "./base.js";
import { lines } from "./plot.js";

const NAMES = { loss: "Loss", gap: "Energy gap (healthy near 0)", energy_data: "Energy of real examples", energy_chains: "Energy of the chains", displacement: "How far chains move" };
const SAYS = { none: "Nothing is in training", running: "Training", stopping: "Writing a checkpoint", stopped: "Stopped", done: "Trained", failed: "It ended with an error" };

export async function train() {
  const first = await ask("/api/training");
  const { experiments, datasets } = first.choices;
  const what = choice("Experiment", Object.keys(experiments).map((name) => [name, name]), { onchange: () => say() }, true);
  const data = choice("Data", datasets.map((name) => [name, words(name)]));
  const preset = choice("Preset", [["quick", "quick: minutes"], ["full", "full: hours"], ["gpu", "gpu: a large GPU"]]);
  const images = control("Examples to see (empty: the preset’s)", "number", { min: "64", max: "100000000", placeholder: "preset" }, true);
  const seed = control("Seed", "number", { min: "0", max: "4294967295", value: "0" });
  const story = h("p", { class: "story" });
  const state = h("p", { class: "big", role: "status" });
  const name = h("p", { class: "quiet" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Steps done" });
  const curves = h("div", { class: "stack" });
  const sampled = h("img", { class: "pixels", alt: "Samples drawn on the way" });
  const preview = h("figure", { class: "card", hidden: true }, h("figcaption", {}, h("b", {}, "What it draws now")), sampled);
  const lines_ = h("pre", { hidden: true, tabindex: "0", "aria-label": "What the training said last" });
  const go = h("button", { class: "main", type: "button", onclick: () => begin() }, "Train");
  const stop = h("button", { type: "button", onclick: () => end() }, "Stop");
  let timer, pictures = 0, status = first;

  const element = h("section", {},
    h("h1", {}, "Train a model"),
    h("p", { class: "lead" }, "A training runs beside the studio and writes a run folder; when it is done, the model is in every list here."),
    h("div", { class: "split" },
      h("div", { class: "stage stack" }, h("div", { class: "card" }, state, name, bar, h("div", { class: "bar" }, stop)),
        curves, preview, lines_),
      h("aside", { class: "side" }, h("div", { class: "card" }, h("div", { class: "fields" }, what.box, data.box, preset.box, images.box, seed.box), story, h("div", { class: "bar" }, go)))));

  const say = () => (story.textContent = experiments[what.input.value]);

  async function begin() {
    const asked = { experiment: what.input.value, dataset: data.input.value, preset: preset.input.value, seed: +seed.input.value || 0 };
    if (images.input.value) asked.images = +images.input.value;
    try { show(await ask("/api/train", asked)); } catch (error) { complain(error); }
  }

  async function end() {
    try { show(await ask("/api/stop", {})); } catch (error) { complain(error); }
  }

  function show(found) {
    status = found;
    const busy = ["running", "stopping"].includes(found.state);
    element.dataset.state = found.state;
    element.dataset.step = found.step ?? 0;
    state.textContent = SAYS[found.state];
    go.disabled = busy;
    stop.hidden = found.state !== "running";
    bar.hidden = found.state === "none";
    name.textContent = found.name ? `${found.name}: ${(found.step ?? 0).toLocaleString("en")} of ${found.steps?.toLocaleString("en") ?? "…"} steps` : "Choose what to train, and on what.";
    bar.value = found.steps ? found.step / found.steps : 0;
    lines_.hidden = !found.lines?.length;
    lines_.textContent = (found.lines ?? []).join("\n");
    chart();
    if (found.pictures && found.pictures !== pictures) sampled.src = `/api/preview?${found.pictures}`;
    pictures = found.pictures ?? 0;
    preview.hidden = !pictures;
  }

  function chart() {
    const shown = Object.entries(status.curves ?? {}).slice(0, 3);
    if (curves.childElementCount !== shown.length) {
      curves.replaceChildren(...shown.map(() => h("figure", { class: "card" }, h("figcaption", {}, h("b"), h("span")), h("canvas", { class: "chart" }))));
    }
    shown.forEach(([key, points], i) => {
      const figure = curves.children[i];
      figure.querySelector("b").textContent = NAMES[key] ?? key;
      figure.querySelector("span").textContent = number(points.at(-1)[1]);
      lines(figure.querySelector("canvas"), [{ points, style: "accent" }], NAMES[key] ?? key);
    });
  }

  async function look() {
    try { show(await ask("/api/training")); } catch (error) { complain(error); }
    timer = setTimeout(look, 1000);
  }

  say();
  return { element, show() { show(first); look(); }, hide() { clearTimeout(timer); }, repaint: chart };
}
