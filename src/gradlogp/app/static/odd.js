// (e) Strange or not: a file, or a drawing, against the scores of test examples.

import { ask, bytes, complain, h, modelChoice, models, nothing, number } from "./base.js";
import { drawing } from "./draw.js";
import { magnify, paint } from "./pixels.js";
import { histogram } from "./plot.js";

const LARGEST = 6 << 20;

export async function odd() {
  const list = await models(true);
  const picked = modelChoice(list, () => settle(), (m) => m.kind === "picture" || m.kind === "row");
  const head = [
    h("h1", {}, "Strange, or not?"),
    h("p", { class: "lead" }, "The model scores what it has never seen: the grey bars are ordinary test examples, the line is yours. Far to the right is strange."),
  ];
  if (!picked.good.length) return { element: h("section", {}, ...head, nothing()), show() {}, hide() {} };

  const chart = h("canvas", { class: "chart" });
  chart.style.height = "17rem";
  const verdict = h("p", { class: "big", role: "status" }, "Choose something to score");
  const why = h("p", { class: "quiet" });
  const seen = h("canvas", { role: "img", "aria-label": "What was scored, as the model sees it", hidden: true });
  const rows = h("tbody");
  const table = h("div", { class: "scroll", hidden: true }, h("table", {}, h("thead", {}, h("tr", {}, ...["which", "score", "test examples above", ""].map((t) => h("th", { scope: "col" }, t)))), rows));
  const file = h("input", { type: "file", hidden: true, accept: "image/*,.csv,.tsv,.parquet", onchange: () => upload() });
  const drop = h("button", { type: "button", class: "main", onclick: () => file.click() }, "Choose a file");
  const mine = h("button", { type: "button", onclick: () => sketch() }, "My drawing");
  const test = h("button", { type: "button", onclick: () => example() }, "A test example");
  const noise = h("button", { type: "button", onclick: () => random() }, "Pure noise");
  let usual = null, marks = [], index = 0;

  const element = h("section", {}, ...head, h("div", { class: "split" },
    h("div", { class: "stage" },
      h("div", { class: "card" }, chart),
      h("div", { class: "bar" }, drop, file, mine, test, noise),
      table),
    h("aside", { class: "side" },
      h("div", { class: "card" }, picked.box, h("p", { class: "story" }, "A picture of any size is fitted to the model’s. It stays on this machine.")),
      h("div", { class: "card", "aria-live": "polite" }, verdict, seen, why))));

  element.ondragover = (event) => event.preventDefault();
  element.ondrop = (event) => { event.preventDefault(); if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]); };

  async function settle() {
    const model = picked.model();
    const picture = model.kind === "picture";
    usual = null;
    marks = [];
    [mine, test, noise].forEach((button) => (button.hidden = !picture));
    verdict.textContent = "Scoring test examples …";
    why.textContent = "";
    seen.hidden = table.hidden = true;
    try {
      const found = await ask("/api/usual", { run: model.name });
      if (!found || model !== picked.model()) return;
      usual = found;
      verdict.textContent = "Choose something to score";
      why.textContent = `The score is ${usual.by}. ${usual.n} test examples; threshold: ${usual.says}.`;
      repaint();
      element.dataset.ready = model.name;
    } catch (error) {
      verdict.textContent = "No test examples here";
      why.textContent = error.message;
    }
  }

  async function judge(given, name) {
    try {
      const found = await ask("/api/odd", { run: picked.model().name, ...given });
      if (found) show(found, name);
    } catch (error) { complain(error); }
  }

  function show(found, name) {
    const several = found.scores.length > 1;
    marks = found.scores.slice(0, 12).map((at, i) => ({ at, name: several ? "" : name }));
    const strange = found.strange.filter(Boolean).length;
    verdict.textContent = several ? `${strange} of ${found.scores.length} are strange` : strange ? "Strange" : "Not strange";
    const above = found.above[0];
    why.textContent = several ? "" : `It scores ${number(found.scores[0], 4)}: ${above === 0 ? "none of the test examples score" : above >= 0.995 ? "nearly all test examples score" : `${Math.round(100 * above)} % of the test examples score`} higher.`;
    seen.hidden = !found.pixels;
    if (found.pixels) {
      paint(seen, found.shape, bytes(found.pixels));
      magnify(seen, found.shape, Math.max(1, Math.floor(168 / found.shape[2])));
    }
    table.hidden = !several;
    rows.replaceChildren(...found.names.map((n, i) => h("tr", {}, h("th", { scope: "row" }, n), h("td", { class: "number" }, number(found.scores[i], 4)), h("td", { class: "number" }, `${Math.round(100 * found.above[i])} %`), h("td", {}, found.strange[i] ? "strange" : ""))));
    repaint();
    element.dataset.judged = +(element.dataset.judged ?? 0) + 1;
  }

  function repaint() {
    if (usual) histogram(chart, usual, marks, "Scores");
  }

  const upload = () => { if (file.files.length) send(file.files[0]); file.value = ""; };

  async function send(chosen) {
    if (chosen.size > LARGEST) return complain(new Error(`${chosen.name} has ${(chosen.size / 2 ** 20).toFixed(1)} MB, and 6 MB are taken; make it smaller.`));
    const reader = new FileReader();
    reader.onload = () => judge({ content: reader.result.split(",")[1] ?? "", ending: (chosen.name.match(/\.[a-z0-9]{1,7}$/i)?.[0] ?? ".png").toLowerCase() }, "your file");
    reader.readAsDataURL(chosen);
  }

  function sketch() {
    if (String(drawing.shape) !== String(picked.model().shape)) return complain(new Error("There is no drawing of this model’s size yet; draw one under “Draw”."));
    judge({ pixels: drawing.pixels.map((v) => +v.toFixed(3)) }, "your drawing");
  }

  async function example() {
    try {
      const found = await ask("/api/example", { run: picked.model().name, index: 301 + index++ });
      if (found) judge({ pixels: Array.from(bytes(found.pixels), (v) => +(v / 255).toFixed(3)) }, "a test example");
    } catch (error) { complain(error); }
  }

  const random = () => judge({ pixels: Array.from({ length: picked.model().shape.reduce((a, b) => a * b) }, () => +Math.random().toFixed(3)) }, "noise");

  return { element, show: settle, hide() {}, repaint };
}
