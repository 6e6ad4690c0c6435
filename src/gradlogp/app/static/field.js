// (c) A density of the plane: shades and contours, its score as arrows, and particles to drag.

import { Stream, ask, bytes, choice, colour, control, faint, h, latest, number, typing, words } from "./base.js";

const CONTOURS = [0.5, 2, 4.5, 8]; // nats below the top: 1, 2, 3 and 4 standard deviations of a Gaussian

export async function field() {
  const { densities, stepping, down } = await ask("/api/densities");
  const density = choice("Distribution", Object.keys(densities).map((name) => [name, name === "points" ? "my own points" : words(name)]), { onchange: () => other() }, true);
  density.input.value = "ring_of_gaussians" in densities ? "ring_of_gaussians" : Object.keys(densities)[0];
  const sigma = control("Noise level", "range", { min: "0", max: "3", step: "0.05", value: "0", oninput: () => { map(); soon(); } }, true);
  const sampler = choice("Sampler", [...stepping, ...down].map((name) => [name, words(name)]), { onchange: () => { kinds(); begin(!walksDown()); } }, true);
  const step = control("Step size", "range", { min: "-4", max: "0.5", step: "0.1", value: "-1.6", says: (v) => number(10 ** v, 2), onchange: () => begin(true) });
  const temperature = control("Temperature", "range", { min: "-1", max: "1", step: "0.1", value: "0", says: (v) => number(10 ** v, 2), onchange: () => begin(true) });
  const levels = control("Levels", "number", { min: "2", max: "500", value: "60", onchange: () => begin(false) });
  const n = control("Particles", "number", { min: "1", max: "500", value: "150", onchange: () => begin(false) });
  const says = h("p", { class: "story" });
  const plane = h("canvas", { class: "plane", tabindex: "0", role: "img", "aria-label": "The plane with its density, score arrows and particles. Keys: N chooses a particle, arrows move it." });
  const status = h("p", { class: "status", role: "status" });
  const play = h("button", { class: "main", type: "button", onclick: () => toggle() }, "Pause");
  const stream = new Stream("/ws/particles", onframe);
  stream.stride = 1;
  let shown = null, places = new Float32Array(), held = -1, points = [], chosen = -1, shading = null, drawn = false;

  const element = h("section", {},
    h("h1", {}, "The field that everything follows"),
    h("p", { class: "lead" }, "Dark is likely; the arrows are the score, which points to what is more likely; the dots are chains that follow it, and you may drag them. Turn the noise up and see the landscape become smooth."),
    h("div", { class: "split" },
      h("div", { class: "stage" }, plane,
        h("div", { class: "bar" }, play,
          h("button", { type: "button", onclick: () => { stream.go(false); stream.send({ do: "step", steps: 1 }); label(); } }, "One step"),
          h("button", { type: "button", onclick: () => begin(false) }, "Scatter"),
          h("button", { type: "button", onclick: () => { points = []; density.input.value = "points"; other(); } }, "Clear points")),
        status),
      h("aside", { class: "side" },
        h("div", { class: "card" }, h("div", { class: "fields" }, density.box, sigma.box), says),
        h("div", { class: "card" }, h("div", { class: "fields" }, sampler.box, step.box, temperature.box, levels.box, n.box),
          h("p", { class: "story" }, "The upper seven walk at one noise level with steps of a set size; the others walk from wide noise down to hardly any, and end there.")))));

  const walksDown = () => down.includes(sampler.input.value);
  const asked = () => ({ density: density.input.value, points: density.input.value === "points" ? points : [], sigma: +sigma.input.value });
  const empty = () => density.input.value === "points" && !points.length;

  function kinds() {
    step.input.disabled = walksDown();
    levels.input.disabled = !walksDown();
  }

  const map = latest(async () => {
    says.textContent = empty() ? "Click into the picture to set points; the model of a few points is their blur." : densities[density.input.value];
    if (empty()) { shown = { half: 4, score: [], places: [] }; shading = null; places = new Float32Array(); return paint(); }
    const found = await ask("/api/field", asked());
    if (!found) return;
    shown = found;
    shading = { cells: bytes(found.shade), n: found.cells };
    paint();
    element.dataset.maps = +(element.dataset.maps ?? 0) + 1;
  });

  function begin(keep) {
    if (empty()) return stream.go(false);
    stream.begin({
      ...asked(), sampler: sampler.input.value, step_size: 10 ** +step.input.value, keep,
      temperature: 10 ** +temperature.input.value, levels: +levels.input.value, n: +n.input.value, seed: Math.floor(Math.random() * 1e6),
    });
    label();
  }

  let waiting;
  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(() => begin(true), 120);
  }

  async function other() {
    if (density.input.value === "points" && +sigma.input.value < 0.3) { sigma.input.value = 0.4; sigma.write(); }
    await map();
    begin(false);
  }

  function toggle() {
    if (!stream.going && element.dataset.done === "true") return begin(false);
    stream.go(!stream.going);
    label();
  }
  const label = () => (play.textContent = stream.going ? "Pause" : element.dataset.done === "true" ? "Again" : "Go on");

  function onframe(head, data) {
    if (!head) return label();
    const own = held >= 0 ? [places[2 * held], places[2 * held + 1]] : null;
    places = new Float32Array(data.slice().buffer);
    if (own && 2 * held < places.length) places.set(own, 2 * held);
    const more = head.level != null ? `, noise level ${number(head.level)}` : head.accept != null ? `, ${Math.round(100 * head.accept)} % accepted` : "";
    status.textContent = `Step ${head.step}${head.of ? ` of ${head.of}` : ""}${more}${head.energy != null ? `, mean energy ${number(head.energy)}` : ""}${head.done ? ", done" : ""}`;
    element.dataset.step = head.step;
    element.dataset.done = head.done;
    label();
    if (!drawn) { drawn = true; requestAnimationFrame(() => { drawn = false; paint(); }); }
  }

  /** The map is drawn once; particles move over it in every frame. */
  let behind = null;

  function background(side, dots) {
    const canvas = new OffscreenCanvas(Math.round(side * dots), Math.round(side * dots));
    const context = canvas.getContext("2d");
    context.scale(dots, dots);
    if (shading) { shade(context, side); contours(context, side); }
    arrows(context, (x) => (x / shown.half + 1) * side / 2, (y) => (1 - y / shown.half) * side / 2, side);
    return { canvas, side, dots, of: shown, dot: colour("accent"), rim: colour("sheet"), ink: colour("ink") };
  }

  function paint() {
    const side = plane.clientWidth;
    if (!side || !shown) return;
    const dots = window.devicePixelRatio || 1;
    if (behind?.side !== side || behind.dots !== dots || behind.of !== shown) behind = background(side, dots);
    const { canvas, dot, rim, ink } = behind;
    if (plane.width !== canvas.width) plane.width = plane.height = canvas.width;
    const context = plane.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, plane.width, plane.height);
    context.drawImage(canvas, 0, 0);
    context.scale(dots, dots);
    const X = (x) => (x / shown.half + 1) * side / 2;
    const Y = (y) => (1 - y / shown.half) * side / 2;
    for (const [x, y] of density.input.value === "points" ? points : []) cross(context, X(x), Y(y), ink);
    context.fillStyle = dot;
    for (let i = 0; i < places.length / 2; i++) {
      context.beginPath();
      context.arc(X(places[2 * i]), Y(places[2 * i + 1]), i === held || i === chosen ? 7 : 3.4, 0, 7);
      context.fill();
      context.lineWidth = i === chosen ? 2.5 : 1;
      context.strokeStyle = i === chosen ? ink : rim;
      context.stroke();
    }
  }

  function shade(context, side) {
    const { cells, n: count } = shading;
    const small = new OffscreenCanvas(count, count);
    const image = small.getContext("2d").createImageData(count, count);
    const [r, g, b] = colour("ink").match(/[\d.]+/g).map(Number);
    cells.forEach((v, i) => image.data.set([r, g, b, Math.round(v * 0.36)], 4 * i));
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, side, side);
  }

  /** Marching squares over the shades: each cell of four neighbours adds at most two pieces of line. */
  function contours(context, side) {
    const { cells, n: count } = shading;
    const at = (row, column) => cells[row * count + column];
    const unit = side / count;
    context.strokeStyle = faint("ink", 0.34);
    context.lineWidth = 1;
    context.beginPath();
    for (const drop of CONTOURS) {
      const level = 255 * (1 - drop / shown.range);
      for (let row = 0; row < count - 1; row++) for (let column = 0; column < count - 1; column++) {
        const corners = [[row, column], [row, column + 1], [row + 1, column + 1], [row + 1, column]];
        const cuts = [];
        for (let k = 0; k < 4; k++) {
          const [a, b] = [corners[k], corners[(k + 1) % 4]];
          const [p, q] = [at(...a), at(...b)];
          if (p > level === q > level) continue;
          const t = (level - p) / (q - p);
          cuts.push([(a[1] + (b[1] - a[1]) * t + 0.5) * unit, (a[0] + (b[0] - a[0]) * t + 0.5) * unit]);
        }
        for (let k = 0; k + 1 < cuts.length; k += 2) { context.moveTo(...cuts[k]); context.lineTo(...cuts[k + 1]); }
      }
    }
    context.stroke();
  }

  function arrows(context, X, Y, side) {
    const { score, places: from } = shown;
    if (!score.length) return;
    const sizes = [];
    for (let i = 0; i < score.length; i += 2) sizes.push(Math.hypot(score[i] ?? 0, score[i + 1] ?? 0));
    const typical = [...sizes].sort((a, b) => a - b)[sizes.length >> 1] || 1;
    context.strokeStyle = context.fillStyle = faint("ink", 0.5);
    context.lineWidth = 1.1;
    sizes.forEach((size, i) => {
      if (!(size > 0)) return;
      const long = (side / 15) * 0.82 * Math.min(1, Math.sqrt(size / (2.5 * typical)));
      const [dx, dy] = [(score[2 * i] / size) * long, (-score[2 * i + 1] / size) * long];
      const [x, y] = [X(from[2 * i]) - dx / 2, Y(from[2 * i + 1]) - dy / 2];
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + dx, y + dy);
      context.stroke();
      if (long < 4) return;
      const turn = Math.atan2(dy, dx);
      context.beginPath();
      context.moveTo(x + dx, y + dy);
      for (const a of [2.6, -2.6]) context.lineTo(x + dx + 4.5 * Math.cos(turn + a), y + dy + 4.5 * Math.sin(turn + a));
      context.fill();
    });
  }

  function cross(context, x, y, ink) {
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x - 5, y); context.lineTo(x + 5, y);
    context.moveTo(x, y - 5); context.lineTo(x, y + 5);
    context.stroke();
  }

  function where(event) {
    const box = plane.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width * 2 - 1) * shown.half, (1 - (event.clientY - box.top) / box.height * 2) * shown.half];
  }

  function near([x, y]) {
    let best = -1, least = 14 * 2 * shown.half / plane.clientWidth;
    for (let i = 0; i < places.length / 2; i++) {
      const far = Math.hypot(places[2 * i] - x, places[2 * i + 1] - y);
      if (far < least) { least = far; best = i; }
    }
    return best;
  }

  function put(i, x, y) {
    places.set([x, y], 2 * i);
    stream.send({ do: "move", index: i, x, y });
    paint();
  }

  plane.onpointerdown = (event) => {
    const at = where(event);
    held = near(at);
    if (held >= 0) { plane.setPointerCapture(event.pointerId); plane.style.cursor = "grabbing"; return; }
    if (density.input.value !== "points") return;
    points.push(at.map((v) => +v.toFixed(3)));
    points = points.slice(-400);
    map();
    begin(points.length > 1);
  };
  plane.onpointermove = (event) => { if (held >= 0) put(held, ...where(event)); };
  plane.onpointerup = plane.onpointercancel = () => { held = -1; plane.style.cursor = ""; };

  function key(event) {
    if (typing(event.target) || event.ctrlKey || event.metaKey) return;
    if (event.key === " " && !event.target.closest("button")) { event.preventDefault(); return toggle(); }
    if (document.activeElement !== plane || !places.length) return;
    if (event.key.toLowerCase() === "n") { chosen = (chosen + 1) % (places.length / 2); return paint(); }
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!move || chosen < 0) return;
    event.preventDefault();
    const unit = shown.half / 25;
    put(chosen, places[2 * chosen] + move[0] * unit, places[2 * chosen + 1] + move[1] * unit);
  }

  kinds();
  return {
    element,
    async show() {
      document.addEventListener("keydown", key);
      await map();
      begin(false);
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) stream.go(false);
    },
    hide() { document.removeEventListener("keydown", key); stream.close(); },
    repaint() { behind = null; paint(); },
  };
}
