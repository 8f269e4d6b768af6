// The map of predictions: the input nearest to the pointer is shown, a click shows its directions
// and nearest neighbours. Maps and tables of one page show the same input.
// The section before this script brings its data as JSON; nothing is loaded from elsewhere.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SIZE = 520, PAD = 14;
  const REACH = 11;  // how far a sign answers to the pointer, in units of the map as first shown
  const NEWS = "infogeo:input";  // what maps of a page tell each other

  const make = (tag, parent, attributes = {}, text = null) => {
    const isShape = ["svg", "text", "circle", "rect", "title", "g"].includes(tag);
    const node = isShape ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  const percent = (p) => p >= 0.9995 && p < 1 ? "> 99.9 %" : `${(100 * p).toFixed(1)} %`;

  // Purple and orange are told apart by all readers; white is no change.
  const tint = (v) => {
    const [r, g, b] = v < 0 ? [94, 60, 153] : [230, 97, 1];
    const s = Math.min(1, Math.abs(v));
    return [255 + s * (r - 255), 255 + s * (g - 255), 255 + s * (b - 255)];
  };

  const drawPixels = (parent, data, k, scale, description) => {
    const { height, width, channels } = data.images;
    const node = make("canvas", parent, { width, height, role: "img", "aria-label": description });
    node.style.width = `${scale * width}px`;
    node.style.height = `${scale * height}px`;
    const context = node.getContext("2d"), image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const rgb = data.colours(k, i, channels);
      for (let j = 0; j < 3; j++) image.data[4 * i + j] = rgb[j];
      image.data[4 * i + 3] = data.isMissing(i) ? 0 : 255;
    }
    context.putImageData(image, 0, 0);
    return node;
  };

  class Explorer {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.points = [];
      this.selected = null;
      this.view = { x: 0, y: 0, size: SIZE };
      if (this.data.images) {
        const { images } = this.data;
        images.pixels = bytes(images.pixels);
        if (images.missing) images.missing = bytes(images.missing);
        if (this.data.directions) this.data.directions.pixels = bytes(this.data.directions.pixels);
      }
      this.frame = make("div", root, { class: "frame" });
      this.drawMap();
      this.panel = make("div", this.frame, { class: "panel", "aria-live": "polite" });
      this.showHint();
      document.addEventListener(NEWS, ({ detail }) => {
        const k = detail.number === null ? null : this.data.numbers.indexOf(detail.number);
        if (detail.from === this || k === -1) return;
        if (detail.isKept) this.select(k, false);
        else this.point(k, false);
      });
      window.addEventListener("hashchange", () => this.selectAsked());
      this.selectAsked();
    }

    selectAsked() {
      const asked = location.hash.match(/^#input-(\d+)$/);
      if (asked) this.select(this.data.numbers.indexOf(Number(asked[1])));
    }

    drawMap() {
      const { positions, predicted, labels, classes, colours, numbers } = this.data;
      const reach = Math.max(1e-12, ...positions.flat().map(Math.abs));
      const place = (v) => SIZE / 2 + (v / reach) * (SIZE / 2 - PAD);
      const side = make("div", this.frame, { class: "side" });
      const map = this.map = make("svg", side, {
        viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group", tabindex: "0",
        "aria-label": "map of predictions: arrow keys go from one to the next",
      });
      make("rect", map, { width: SIZE, height: SIZE, class: "paper" });
      this.places = positions.map(([x, y]) => [place(x), SIZE - place(y)]);
      this.places.forEach(([x, y], k) => {
        const isWrong = labels !== null && labels[k] !== predicted[k];
        const point = make("g", map, {
          class: "point" + (isWrong ? " wrong" : ""), "data-input": numbers[k],
          transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
        });
        make("circle", point, { r: 8, class: "halo" });
        const name = classes[predicted[k]];
        if (name.length <= 2)
          make("text", point, { fill: colours[predicted[k]] }, name);
        else make("circle", point, { r: 3.6, fill: colours[predicted[k]] });
        this.points.push(point);
      });
      map.addEventListener("pointermove", (event) => this.onMove(event));
      map.addEventListener("pointerdown", (event) => { this.drag = { at: this.at(event), moved: false }; });
      map.addEventListener("click", (event) => this.onClick(event));
      map.addEventListener("pointerleave", () => { this.drag = null; this.point(null); });
      map.addEventListener("keydown", (event) => this.onKey(event));
      map.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return;  // the page scrolls; a pinch and Ctrl with the wheel zoom
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.at(event));
      }, { passive: false });
      this.drawTools(side);
      this.drawLegend(side);
    }

    drawTools(parent) {
      const tools = make("div", parent, { class: "tools" });
      const add = (text, name, act) => make(
        "button", tools, { type: "button", "aria-label": name, title: name }, text,
      ).addEventListener("click", act);
      add("+", "zoom in", () => this.zoom(0.5));
      add("\u2212", "zoom out", () => this.zoom(2));
      add("all", "show all", () => this.zoom(SIZE));
      const label = make("label", tools, {}, "input ");
      this.list = make("select", label);
      make("option", this.list, { value: "" }, "choose");
      const { numbers, classes, predicted } = this.data;
      numbers.forEach((number, k) =>
        make("option", this.list, { value: number }, `${number}: ${classes[predicted[k]]}`));
      this.list.addEventListener("change", () => this.select(
        this.list.value === "" ? null : numbers.indexOf(Number(this.list.value))));
    }

    at(event) {
      const box = this.map.getBoundingClientRect(), { x, y, size } = this.view;
      return [
        x + ((event.clientX - box.left) / box.width) * size,
        y + ((event.clientY - box.top) / box.height) * size,
      ];
    }

    // The inputs within reach of a place, the nearest first.
    near([x, y]) {
      const far = this.places.map(([a, b]) => Math.hypot(a - x, b - y));
      const reach = (REACH * this.view.size) / SIZE;
      return [...far.keys()].filter((k) => far[k] <= reach).sort((j, k) => far[j] - far[k]);
    }

    onMove(event) {
      const here = this.at(event);
      if (this.drag && event.buttons && this.view.size < SIZE) {
        const [dx, dy] = [this.drag.at[0] - here[0], this.drag.at[1] - here[1]];
        if (Math.hypot(dx, dy) > (4 * this.view.size) / SIZE) this.drag.moved = true;
        if (this.drag.moved) this.look(this.view.x + dx, this.view.y + dy, this.view.size);
        return;
      }
      this.point(this.near(here)[0] ?? null);
    }

    // A click again at one place goes to the next input there.
    onClick(event) {
      if (this.drag?.moved) return;
      const here = this.near(this.at(event)), stack = [...here].sort((j, k) => j - k);
      const place = stack.indexOf(this.selected);
      this.select(here.length === 0 ? null : place < 0 ? here[0] : stack[(place + 1) % stack.length]);
    }

    zoom(factor, centre = this.selected === null ? null : this.places[this.selected]) {
      const { x, y, size } = this.view, next = Math.min(SIZE, Math.max(SIZE / 64, size * factor));
      const [a, b] = centre ?? [x + size / 2, y + size / 2];
      const share = next / size;
      this.look(a - (a - x) * share, b - (b - y) * share, next);
      if (centre === null || factor > 1) return;
      const [u, v] = centre, isIn = (w, from) => w >= from && w <= from + next;
      if (!isIn(u, this.view.x) || !isIn(v, this.view.y)) this.look(u - next / 2, v - next / 2, next);
    }

    look(x, y, size) {
      const within = (v) => Math.min(SIZE - size, Math.max(0, v));
      this.view = { x: within(x), y: within(y), size };
      this.map.setAttribute("viewBox", `${this.view.x} ${this.view.y} ${size} ${size}`);
      this.map.style.setProperty("--zoom", size / SIZE);
      this.map.classList.toggle("zoomed", size < SIZE);
    }

    drawLegend(parent) {
      const { classes, predicted, colours, labels } = this.data;
      const legend = make("p", parent, { class: "legend" });
      [...new Set(predicted)].sort((a, b) => a - b).slice(0, 20).forEach((k) => {
        const entry = make("span", legend);
        make("b", entry, { style: `color: ${colours[k]}` }, "\u25cf ");
        entry.append(classes[k]);
      });
      if (labels !== null && this.points.some((p) => p.classList.contains("wrong")))
        make("span", legend, {}, "ring: predicted wrong");
      const more = new Set(predicted).size - 20;
      if (more > 0) make("span", legend, {}, `and ${more} more`);
    }

    onKey(event) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") this.select(null);
      if (step === undefined) return;
      event.preventDefault();
      const n = this.points.length, from = this.selected === null ? (step > 0 ? -1 : 0) : this.selected;
      this.select((from + step + n) % n);
    }

    tell(k, isKept) {
      const number = k === null ? null : this.data.numbers[k];
      document.dispatchEvent(new CustomEvent(NEWS, { detail: { number, isKept, from: this } }));
      for (const row of document.querySelectorAll("tr[data-input]"))
        row.classList.toggle("marked", number !== null && row.dataset.input === String(number));
    }

    point(k, isOurs = true) {
      if (k === this.pointed) return;
      this.pointed = k;
      this.points.forEach((point, i) => point.classList.toggle("pointed", i === k));
      if (this.selected === null) {
        if (k === null) this.showHint();
        else this.show(k, false);
      }
      if (isOurs) this.tell(k ?? this.selected, false);
    }

    select(k, isOurs = true) {
      if (k === -1) return;
      if (k !== null) this.points[k].parentNode.append(this.points[k]);  // above the others
      this.points.forEach((point, i) => point.classList.toggle("selected", i === k));
      this.selected = k;
      this.list.value = k === null ? "" : this.data.numbers[k];
      if (k !== null && this.view.size < SIZE) this.zoom(1, this.places[k]);  // it comes into sight
      if (k === null) this.showHint();
      else this.show(k, true);
      if (isOurs) this.tell(k, true);
    }

    showHint() {
      this.panel.replaceChildren();
      make("p", this.panel, { class: "hint" },
        "Each sign is an input, placed so that distances in the plane are near the Fisher-Rao " +
        "distances between predictions. Point at one to see it; click for the directions it is " +
        "sensitive to and its nearest predictions, and again for the next one in the same place. " +
        "The list has all of them.");
    }

    show(k, isSelected) {
      const { classes, predicted, labels, numbers } = this.data;
      this.panel.replaceChildren();
      const title = make("h3", this.panel, {}, `input ${numbers[k]}`);
      if (labels !== null) title.append(`, ${classes[labels[k]]}`);
      const row = make("div", this.panel, { class: "row" });
      if (this.data.images) this.drawImage(row, k, 140);
      this.drawBars(row, k);
      make("p", this.panel, { class: "verdict" },
        `predicted: ${classes[predicted[k]]} (${percent(this.data.probabilities[k][0][1])})`);
      if (!isSelected) return;
      if (this.data.speeds) this.drawDirections(k);
      this.drawNearest(k);
      this.drawBeside(k);
    }

    drawImage(parent, k, size) {
      const { images, numbers } = this.data, { pixels, height, width, missing } = images;
      const area = height * width, start = k * area * images.channels;
      const data = {
        images,
        colours: (_, i, channels) => channels === 3
          ? [0, 1, 2].map((j) => pixels[start + j * area + i])
          : Array(3).fill(pixels[start + i]),
        isMissing: (i) => missing !== null && missing[k * area + i] === 1,
      };
      const note = missing?.subarray(k * area, (k + 1) * area).includes(1) ? ", hatched where missing" : "";
      return drawPixels(
        parent, data, k, size / Math.max(height, width), `input ${numbers[k]}${note}`);
    }

    drawBars(parent, k) {
      const bars = make("div", parent, { class: "bars" });
      for (const [number, p] of this.data.probabilities[k]) {
        const bar = make("div", bars, { class: "bar" });
        make("span", bar, { class: "name" }, this.data.classes[number]);
        const track = make("span", bar, { class: "track" });
        make("span", track, {
          class: "fill",
          style: `width: ${(100 * p).toFixed(2)}%; background: ${this.data.colours[number]}`,
        });
        make("span", bar, { class: "value" }, percent(p));
      }
    }

    drawDirections(k) {
      make("h4", this.panel, {}, "most sensitive directions (rad per unit of input)");
      const row = make("div", this.panel, { class: "row directions" });
      this.data.speeds[k].forEach((speed, j) => {
        const cell = make("figure", row);
        if (this.data.directions) this.drawDirection(cell, k, j);
        make("figcaption", cell, {}, speed.toPrecision(3));
      });
    }

    drawDirection(parent, k, j) {
      const { images, directions } = this.data, { height, width } = images;
      const start = (k * directions.count + j) * height * width;
      const data = {
        images,
        colours: (_, i) => tint((directions.pixels[start + i] - 128) / 127),
        isMissing: () => false,
      };
      drawPixels(parent, data, k, 96 / Math.max(height, width), `direction ${j + 1}`);
    }

    drawBeside(k) {
      const others = this.near(this.places[k]).filter((other) => other !== k);
      if (others.length === 0) return;
      const { numbers, classes, predicted } = this.data;
      make("h4", this.panel, {}, "in the same place of the map");
      const row = make("div", this.panel, { class: "row places" });
      for (const other of others)
        make(
          "span",
          make("button", row, { type: "button", "data-input": numbers[other] }), {},
          `${numbers[other]}: ${classes[predicted[other]]}`,
        ).parentNode.addEventListener("click", () => this.select(other));
    }

    drawNearest(k) {
      make("h4", this.panel, {}, "nearest predictions (rad)");
      const row = make("div", this.panel, { class: "row nearest" });
      for (const [other, distance] of this.data.nearest[k]) {
        const { numbers, classes, predicted } = this.data;
        const cell = make("button", row, { type: "button", "data-input": numbers[other] });
        if (this.data.images) this.drawImage(cell, other, 56);
        make("span", cell, {}, `${numbers[other]}: ${classes[predicted[other]]}`);
        make("span", cell, {}, distance.toPrecision(3));
        cell.addEventListener("click", () => this.select(other));
      }
    }
  }

  new Explorer(document.currentScript.previousElementSibling);
})();
