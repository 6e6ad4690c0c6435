// Charts on a canvas: thin lines, round numbers, one accent. Each says in words what it shows.

import { colour, faint, number } from "./base.js";

const LEFT = 46;
const BOTTOM = 20;
const TOP = 6;
const RIGHT = 8;

function prepared(canvas) {
  const dots = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * dots);
  canvas.height = Math.round(height * dots);
  const context = canvas.getContext("2d");
  context.scale(dots, dots);
  context.font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
  return { context, width, height };
}

export function ticks(low, high, about = 3) {
  if (!(high > low)) { const pad = Math.abs(low) / 2 || 1; low -= pad; high += pad; }
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => power * m >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12));
}

/** Lines [{points: [[x, y], ...], style: "quiet" | "ink" | "accent"}] over x from 0 on. */
export function lines(canvas, series, what, xLabel = "step") {
  const { context, width, height } = prepared(canvas);
  const points = series.flatMap((line) => line.points).filter((p) => p[1] != null);
  if (!points.length || !width) return;
  let low = Infinity, high = -Infinity, end = 1;
  for (const [x, y] of points) { low = Math.min(low, y); high = Math.max(high, y); end = Math.max(end, x); }
  const marks = ticks(low, high);
  const [floor, ceiling] = [marks[0], marks.at(-1)];
  const X = (x) => LEFT + ((width - LEFT - RIGHT) * x) / end;
  const Y = (y) => height - BOTTOM - ((height - BOTTOM - TOP) * (y - floor)) / (ceiling - floor || 1);
  rules(context, marks, Y, width);
  foot(context, ticks(0, end).filter((t) => t <= end), X, width, height, xLabel);
  for (const { points: path, style } of series) {
    context.strokeStyle = style === "accent" ? colour("accent") : style === "ink" ? colour("ink") : faint("quiet", 0.32);
    context.lineWidth = style === "quiet" ? 1 : 2;
    context.beginPath();
    let pen = false;
    for (const [x, y] of path) {
      if (y == null) { pen = false; continue; }
      context[pen ? "lineTo" : "moveTo"](X(x), Y(y));
      pen = true;
    }
    context.stroke();
    if (path.length === 1) context.fillRect(X(path[0][0]) - 2.5, Y(path[0][1]) - 2.5, 5, 5);
  }
  const shown = (series.find((line) => line.style === "accent") ?? series[0]).points;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${what}: from ${number(shown[0]?.[1])} to ${number(shown.at(-1)?.[1])} after ${end} ${xLabel}s.`);
}

function rules(context, marks, Y, width) {
  context.fillStyle = colour("quiet");
  context.strokeStyle = colour("rule");
  context.lineWidth = 1;
  context.textAlign = "right";
  for (const mark of marks) {
    context.beginPath();
    context.moveTo(LEFT, Math.round(Y(mark)) + 0.5);
    context.lineTo(width - RIGHT, Math.round(Y(mark)) + 0.5);
    context.stroke();
    context.fillText(number(mark), LEFT - 6, Y(mark) + 4);
  }
}

function foot(context, marks, X, width, height, label) {
  context.textAlign = "center";
  for (const mark of marks.slice(0, -1)) context.fillText(number(mark), X(mark), height - 4);
  context.textAlign = "right";
  context.fillText(label, width - RIGHT, height - 4);
}

/** Counts between low and high, a threshold, and marks {at, name}. */
export function histogram(canvas, { counts, low, high, threshold }, marks, what) {
  const { context, width, height } = prepared(canvas);
  if (!width) return;
  const all = [low, high, ...marks.map((m) => m.at).filter((v) => v != null)];
  const pad = 0.03 * (Math.max(...all) - Math.min(...all) || 1);
  const [from, to] = [Math.min(...all) - pad, Math.max(...all) + pad];
  const X = (x) => RIGHT + ((width - 2 * RIGHT) * (x - from)) / (to - from);
  const top = 34;
  const Y = (n) => height - BOTTOM - ((height - BOTTOM - top) * n) / Math.max(...counts);
  const step = (high - low) / counts.length || 1;
  context.fillStyle = faint("quiet", 0.45);
  counts.forEach((n, i) => {
    const x = X(low + i * step);
    context.fillRect(x, Y(n), Math.max(1, X(low + (i + 1) * step) - x - 1), Y(0) - Y(n));
  });
  context.strokeStyle = colour("rule");
  context.beginPath();
  context.moveTo(RIGHT, Y(0) + 0.5);
  context.lineTo(width - RIGHT, Y(0) + 0.5);
  context.stroke();
  context.fillStyle = colour("quiet");
  context.textAlign = "center";
  for (const mark of ticks(from, to, width > 500 ? 6 : 3).filter((t) => t > from && t < to)) context.fillText(number(mark), X(mark), height - 4);
  context.setLineDash([4, 4]);
  context.strokeStyle = colour("quiet");
  upright(context, X(threshold), 20, Y(0));
  context.setLineDash([]);
  tag(context, "threshold", X(threshold), 14, width);
  context.strokeStyle = context.fillStyle = colour("accent");
  context.lineWidth = 3;
  for (const { at, name } of marks) {
    if (at == null) continue;
    upright(context, X(at), 34, Y(0));
    context.font = `600 ${context.font}`;
    tag(context, name, X(at), 29, width);
  }
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${what}: test examples score from ${number(low)} to ${number(high)}, the threshold is ${number(threshold)}${marks.map((m) => `, ${m.name} scores ${number(m.at)}`).join("")}.`);
}

function upright(context, x, top, bottom) {
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, bottom);
  context.stroke();
}

function tag(context, text, x, y, width) {
  context.textAlign = x > width - 70 ? "right" : x < 70 ? "left" : "center";
  context.fillText(text, x, y);
}
