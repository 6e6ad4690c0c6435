// Pictures of the models: [channels, height, width], drawn dot for dot and magnified by whole numbers.

/** Bytes of one picture into a canvas of its own size. */
export function paint(canvas, shape, data) {
  const [channels, height, width] = shape;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = data[(channels === 3 ? c * size : 0) + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** The largest whole magnification at which `columns` pictures fit into `room` pixels, none wider than
 * `most`. */
export function magnification(room, columns, side, gap = 6, most = Infinity) {
  return Math.max(1, Math.floor(Math.min(most, (room - gap * (columns - 1)) / columns) / side));
}

export function magnify(canvas, shape, times) {
  canvas.style.width = `${shape[2] * times}px`;
  canvas.style.height = `${shape[1] * times}px`;
}

/** A grid of chains; `pick` is told which one a person looks at. */
export class Grid {
  constructor(element, columns, pick = () => {}, most = Infinity) {
    this.element = element;
    this.columns = columns;
    this.pick = pick;
    this.most = most;
    this.cells = [];
    this.chosen = -1;
    new ResizeObserver(() => this.fit()).observe(element.parentElement ?? element);
  }

  frame(head, data) {
    if (head.form === "png") return this.picture(data);
    if (head.form !== "pixels") return;
    this.shape = head.shape;
    if (this.cells.length !== head.n) this.make(head.n);
    const size = head.shape.reduce((a, b) => a * b);
    this.cells.forEach((cell, i) => paint(cell, head.shape, data.subarray(i * size, (i + 1) * size)));
  }

  make(n) {
    this.cells = Array.from({ length: n }, (_, i) => {
      const cell = document.createElement("canvas");
      cell.tabIndex = 0;
      cell.setAttribute("role", "button");
      cell.setAttribute("aria-label", `chain ${i + 1}`);
      cell.setAttribute("aria-pressed", "false");
      cell.onclick = () => this.choose(i);
      cell.onkeydown = (event) => { if (event.key === "Enter") this.choose(i); };
      return cell;
    });
    this.element.replaceChildren(...this.cells);
    this.fit();
  }

  choose(i) {
    this.chosen = this.chosen === i ? -1 : i;
    this.cells.forEach((cell, j) => cell.setAttribute("aria-pressed", String(j === this.chosen)));
    this.pick(this.chosen);
  }

  fit() {
    if (!this.shape || !this.cells.length) return;
    const room = (this.element.parentElement ?? this.element).clientWidth;
    const columns = Math.min(this.columns, this.cells.length);
    const times = magnification(room, columns, this.shape[2], 6, this.most);
    this.element.style.gridTemplateColumns = `repeat(${columns}, ${this.shape[2] * times}px)`;
    this.cells.forEach((cell) => magnify(cell, this.shape, times));
  }

  picture(data) {
    const url = URL.createObjectURL(new Blob([data], { type: "image/png" }));
    const image = this.element.querySelector("img") ?? document.createElement("img");
    image.alt = "the chains, as this kind of data is shown";
    image.onload = () => URL.revokeObjectURL(url);
    image.src = url;
    this.cells = [];
    this.element.style.gridTemplateColumns = "1fr";
    if (!image.parentElement) this.element.replaceChildren(image);
  }
}
