// (d) Runs side by side: their numbers in a table that sorts, their reports, and chains from one noise.

import { Stream, ask, complain, control, h, nothing, number } from "./base.js";
import { Grid } from "./pixels.js";

const MOST = 4;

export async function compare() {
  const { rows, columns, comparisons } = await ask("/api/runs");
  const lead = "Choose two to four models: each begins at the same noise, so that what differs is the model’s own doing.";
  const head = [h("h1", {}, "Compare, from the same noise"), h("p", { class: "lead" }, lead)];
  if (!rows.length) return { element: h("section", {}, ...head, nothing()), show() {}, hide() {} };
  const drawable = rows.filter((row) => !row.wrong);
  const checked = new Set(drawable.slice(0, 2).map((row) => row.name));
  const seed = control("Seed", "number", { min: "0", max: "4294967295", value: "0" });
  const body = h("tbody");
  const beside = h("div", { class: "beside" });
  let sorted = null, rising = true, players = [];

  const heads = [{ key: "name", name: "Model" }, { key: "dataset", name: "data" }, ...columns];
  const titles = heads.map((column) => h("th", { scope: "col", class: column.better === undefined ? "" : "number" }, h("button", { type: "button", title: better(column), onclick: () => sort(column.key) }, column.name)));
  const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "skip" }, "draw")), ...titles, h("th", { scope: "col" }, ""))), body);

  function better(column) {
    return column.better === "lower" ? "lower is better" : column.better === "higher" ? "higher is better" : "sort";
  }

  const value = (row, key) => (key === "name" || key === "dataset" ? row[key] ?? "" : row.numbers[key]?.value);

  function sort(key) {
    rising = sorted === key ? !rising : true;
    sorted = key;
    heads.forEach((column, i) => {
      if (column.key === key) titles[i].setAttribute("aria-sort", rising ? "ascending" : "descending");
      else titles[i].removeAttribute("aria-sort");
    });
    rows.sort((a, b) => {
      const [p, q] = [value(a, key), value(b, key)];
      if (p == null || q == null) return (p == null) - (q == null); // what is not measured stays last
      return (rising ? 1 : -1) * (typeof p === "number" ? p - q : String(p).localeCompare(q));
    });
    fill();
  }

  function fill() {
    body.replaceChildren(...rows.map((row) => {
      const box = h("input", { type: "checkbox", "aria-label": `draw ${row.name}`, checked: checked.has(row.name), disabled: Boolean(row.wrong), onchange: (event) => pick(row.name, event.target) });
      return h("tr", {}, h("td", {}, box),
        h("th", { scope: "row" }, row.name, h("small", {}, row.wrong || row.title)),
        h("td", {}, row.dataset ?? ""),
        ...columns.map(({ key }) => {
          const found = row.numbers[key];
          return h("td", { class: "number" }, found ? shownValue(found.value) : "–", found?.stderr ? h("small", {}, ` ± ${number(found.stderr, 1)}`) : null);
        }),
        h("td", {}, row.title ? h("a", { href: `/report?name=${encodeURIComponent(row.name)}`, target: "_blank", rel: "noopener" }, "report") : ""));
    }));
  }

  const shownValue = (v) => (Number.isInteger(v) ? v.toLocaleString("en") : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : number(v));

  function pick(name, box) {
    if (box.checked && checked.size >= MOST) { box.checked = false; return complain(new Error(`At most ${MOST} at a time: uncheck one first.`)); }
    box.checked ? checked.add(name) : checked.delete(name);
  }

  function begin() {
    players.forEach((stream) => stream.close());
    beside.replaceChildren();
    players = rows.filter((row) => checked.has(row.name)).map(player);
  }

  function player(row) {
    const cells = h("div", { class: "grid", role: "group", "aria-label": row.name });
    const status = h("span");
    const grid = new Grid(cells, 3, () => {}, 176);
    const stream = new Stream("/ws/chains", (frame, data) => {
      if (!frame) return;
      grid.frame(frame, data);
      status.textContent = `step ${frame.step} of ${frame.of}`;
      cells.dataset.done = frame.done;
    });
    beside.append(h("figure", {}, h("figcaption", {}, h("b", {}, row.name), status), cells));
    stream.stride = row.walks ? Math.max(1, Math.round(row.steps / 60)) : 1;
    stream.begin({ run: row.name, n: 9, seed: +seed.input.value || 0 });
    return stream;
  }

  fill();
  const element = h("section", {}, ...head,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Models and their numbers" }, table),
    h("div", { class: "bar" }, h("button", { class: "main", type: "button", onclick: begin }, "Draw"), seed.box,
      h("button", { type: "button", onclick: () => { seed.input.value = Math.floor(Math.random() * 1e6); begin(); } }, "New noise")),
    beside,
    comparisons.length ? h("h2", {}, "Comparisons") : null,
    ...comparisons.map((c) => h("p", {}, h("a", { href: `/report?name=${encodeURIComponent(c.name)}`, target: "_blank", rel: "noopener" }, c.name), ` ${c.question}`)));
  return { element, show() { if (checked.size) begin(); }, hide() { players.forEach((stream) => stream.close()); } };
}
