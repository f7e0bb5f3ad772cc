// The model at work: one example, a slider through time, what it would say if it stopped there, and what is inside.
let network = null, openInModel = () => {};
const LINES = 10; // classes whose probabilities are drawn

class Lab {
  constructor(box) {
    this.box = box; this.kept = {}; this.step = 1;
    this.image = D.form.kind === "image";
    this.picture = el("div", { class: "picture" });
    this.told = el("p", { class: "told", "aria-live": "polite" });
    this.slider = el("input", { type: "range", min: 1, value: 1, id: "step", oninput: () => this.to(Number(this.slider.value)) });
    this.count = el("output", { for: "step" });
    this.bars = el("div", { class: "says", role: "group", "aria-label": "Probability of each class at this step" });
    this.chartBox = el("div", { class: "chart" });
    this.select = el("select", { id: "example", onchange: () => this.open(this.select.value) }, this.options());
    const choose = el("div", { class: "choose" }, el("label", { for: "example" }, "Example "), this.select, el("button", { type: "button", onclick: () => this.open(this.select.value) }, "reset"));
    const time = el("div", { class: "time" }, el("label", { for: "step" }, "Stop after step "), this.count, this.slider);
    this.tools = el("div", { class: "tools" });
    this.inside = new Inside(this);
    this.reasons = new Reasons();
    const left = el("div", { class: "left" }, choose, el("div", { class: "views" + (this.image && D.form.ink ? " two" : "") }, this.picture, this.tools), this.inside.node), right = el("div", { class: "right" }, time, this.told, this.bars, this.chartBox, this.reasons.node);
    box.append(el("div", { class: "lab" }, left, right));
    if (this.image) this.pad = D.form.ink ? new Pad(this) : null; else this.bend = new Bend(this);
  }

  options() {
    const groups = new Map();
    for (const name of Object.keys(D.examples)) {
      const item = D.examples[name], wrong = "guess" in item && item.guess !== item.label, group = item.split === "train" ? "train split" : wrong ? "mistakes" : "predicted right";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(el("option", { value: name }, `#${item.index}: ${D.classes[item.label].slice(0, 40)}${wrong ? ` → ${D.classes[item.guess].slice(0, 40)}` : ""}`));
    }
    return [...groups].map(([label, options]) => el("optgroup", { label }, options));
  }

  open(name) {
    const item = D.examples[name];
    this.select.value = name;
    this.show(valuesOf(item), item.steps, { label: item.label, name });
    this.to(item.steps);
  }

  // Compute all of a new input. what: {label} of an example, {} of what somebody drew or bent.
  show(values, steps, what) {
    this.values = values; this.steps = steps; this.what = what;
    this.kept = {};
    network.logits(values, steps, this.kept);
    this.stops = network.stops(values, steps);
    this.slider.max = steps;
    this.step = clamp(this.step, 1, steps);
    this.drawLines();
    this.inside.draw();
    this.reasons.show(what.name);
    this.to(this.step);
  }

  drawLines() {
    const most = D.classes.map((_, c) => [Math.max(...this.stops.map((stop) => stop.p[c])), c]).sort((a, b) => b[0] - a[0]).slice(0, LINES).map((pair) => pair[1]).sort((a, b) => a - b);
    const lines = most.map((c, k) => ({ name: D.classes[c], className: `k${k % 7}${k > 6 ? " dashed" : ""}`, steps: this.stops.map((stop) => stop.step), values: this.stops.map((stop) => stop.p[c]) }));
    const title = "What it would say if it stopped there" + (D.classes.length > LINES ? `, ${LINES} of ${D.classes.length} classes` : "");
    if (this.chart) { this.chart.lines = lines; this.chart.draw(); }
    else this.chart = new Chart(this.chartBox, lines, { title, range: [0, 1], height: 190, format: (x) => `${Math.round(100 * x)} %`, onPick: (step) => this.to(step) });
  }

  // What it says after a step: computed there, or at the nearest step that was computed.
  after(step) { return this.stops.reduce((best, stop) => (Math.abs(stop.step - step) < Math.abs(best.step - step) ? stop : best)); }

  to(step) {
    this.step = clamp(step, 1, this.steps);
    this.slider.value = this.step;
    const { p } = this.after(this.step), whole = this.stops[this.stops.length - 1].p;
    const top = p.indexOf(Math.max(...p)), end = whole.indexOf(Math.max(...whole));
    this.count.textContent = `${this.step} of ${this.steps}`;
    this.slider.setAttribute("aria-valuetext", `step ${this.step} of ${this.steps}: ${D.classes[top]}, ${percent(p[top])}`);
    this.told.replaceChildren("Stopped here it says ", el("b", { class: "answer" }, named(top)), ` (${percent(p[top])}); after all steps `, el("b", { class: "final" }, named(end)), ` (${percent(whole[end])}). `, ...("label" in this.what ? ["The label is ", el("b", null, named(this.what.label)), "."] : ["It is yours, so it has no label."]));
    const order = p.map((share, c) => [share, c]).sort((a, b) => b[0] - a[0]).slice(0, 10).map((pair) => pair[1]);
    if (D.classes.length <= 10) order.sort((a, b) => a - b);
    this.bars.replaceChildren(...order.map((c) => {
      const filled = el("div", { class: "filled" });
      filled.style.width = 100 * p[c] + "%";
      return el("div", { class: "bar" + (c === top ? " top" : ""), "data-class": c }, el("span", { class: "what" }, named(c)), el("div", { class: "track" }, filled), el("span", { class: "value" }, percent(p[c])));
    }));
    this.chart.at(this.step);
    this.inside.at(this.step);
    if (this.image) this.paint(); else this.bend.draw();
  }

  paint() {
    const canvas = el("canvas", { class: "pixels large", role: "img", "aria-label": `the image; what was read up to step ${this.step} is shown in full` });
    paintImage(canvas, this.values, this.steps, this.step);
    this.picture.replaceChildren(canvas);
  }
}

// Gates and states of one module as a heat map: a row per unit, a column per step.
class Inside {
  constructor(lab) {
    this.lab = lab;
    this.module = el("select", { id: "module", onchange: () => this.draw() });
    this.what = el("select", { id: "what", onchange: () => this.draw() });
    this.canvas = el("canvas", { class: "heat", role: "img" });
    this.line = el("div", { class: "cursor" });
    this.scale = el("p", { class: "legend" });
    this.node = el("div", { class: "inside" }, el("h3", null, "Inside"), el("div", { class: "choose" }, el("label", { for: "module" }, "Layer "), this.module, el("label", { for: "what" }, " shows "), this.what),
      el("div", { class: "heatbox" }, this.canvas, this.line), this.scale);
    this.canvas.addEventListener("pointerdown", (event) => this.pick(event));
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons) this.pick(event); });
  }

  pick(event) {
    const box = this.canvas.getBoundingClientRect();
    this.lab.to(1 + Math.floor((clamp((event.clientX - box.left) / box.width, 0, 0.9999)) * this.lab.steps));
  }

  choose(select, names) {
    const value = select.value;
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
    select.value = names.includes(value) ? value : names[0];
    return select.value;
  }

  draw() {
    const module = this.lab.kept[this.choose(this.module, Object.keys(this.lab.kept))], name = this.choose(this.what, Object.keys(module));
    const values = module[name], T = this.lab.steps, H = values.length / T, gate = name.includes("gate") && !name.includes("candidate");
    let most = gate ? 1 : 1e-9;
    if (!gate) for (const value of values) most = Math.max(most, Math.abs(value));
    this.canvas.width = T; this.canvas.height = H;
    const context = this.canvas.getContext("2d"), image = context.createImageData(T, H);
    const low = [46, 92, 158], middle = [247, 246, 243], high = [201, 84, 26];
    for (let t = 0; t < T; t++) for (let j = 0; j < H; j++) {
      const share = gate ? 2 * values[t * H + j] - 1 : values[t * H + j] / most, end = share < 0 ? low : high, k = Math.min(1, Math.abs(share));
      image.data.set([0, 1, 2].map((i) => middle[i] + k * (end[i] - middle[i])).concat(255), 4 * (j * T + t));
    }
    context.putImageData(image, 0, 0);
    this.canvas.setAttribute("aria-label", `${name} of ${this.module.value}: ${H} units over ${T} steps`);
    const ends = gate ? ["0, closed", "1, open"] : [few(-Number(most.toPrecision(2))), few(Number(most.toPrecision(2)))];
    this.scale.replaceChildren(el("span", { class: "key low" }, el("i", { "aria-hidden": "true" }), ends[0]), el("span", { class: "key high" }, el("i", { "aria-hidden": "true" }), ends[1]),
      el("span", { class: "quiet-note" }, `${H} units down, ${T} steps across, of the whole input` + (network.directions === 2 && this.module.value.includes("backward") ? "; this direction reads from right to left" : "")));
  }

  at(step) { this.line.style.left = (100 * (step - 0.5)) / this.lab.steps + "%"; }
}
