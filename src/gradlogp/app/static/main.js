// The page: which view is shown, and in which light.

import { complain, h } from "./base.js";
import { compare } from "./compare.js";
import { draw } from "./draw.js";
import { field } from "./field.js";
import { odd } from "./odd.js";
import { train } from "./train.js";
import { watch } from "./watch.js";

const views = { watch, draw, field, compare, odd, train };
const names = { watch: "Watch", draw: "Draw", field: "Field", compare: "Compare", odd: "Strange?", train: "Train" };
const main = document.getElementById("view");
let shown = null;
let turn = 0;

async function show() {
  const name = location.hash.slice(1) in views ? location.hash.slice(1) : "watch";
  const mine = ++turn;
  shown?.hide();
  shown = null;
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${names[name]} · gradlogp studio`;
  try {
    const view = await views[name]();
    if (mine !== turn) return;
    shown = view;
    main.replaceChildren(view.element);
    view.element.id = `view-${name}`;
    view.show();
  } catch (error) {
    main.replaceChildren(h("p", { class: "empty" }, error.message));
    complain(error);
  }
}

const lights = ["auto", "light", "dark"];
const button = document.getElementById("theme");
function light(name) {
  document.documentElement.dataset.theme = name;
  button.textContent = `◐ ${name}`;
  button.setAttribute("aria-label", `Light: ${name}. Change it`);
  localStorage.setItem("theme", name);
  shown?.repaint?.();
}
button.onclick = () => light(lights[(lights.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
light(lights.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.repaint?.());
addEventListener("resize", () => shown?.repaint?.());
addEventListener("hashchange", show);
show();
