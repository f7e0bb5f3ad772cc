// Charts of lines that share one zoom; the bars of the headline; reliability.
const SHAPE = { left: 48, right: 12, top: 8, bottom: 24 };

class Chart {
  // lines: [{name, className, steps, values, dots}]; options: title, x, format, range, mark, height, onPick
  constructor(box, lines, options) {
    this.box = box; this.lines = lines.filter((line) => line.steps.length); this.options = options;
    this.range = null; this.cursor = null;
    this.legend = el("p", { class: "legend" });
    this.plot = el("div", { class: "plot" });
    box.append(el("h3", null, options.title), this.legend, this.plot);
    onWidth(this.plot, (width) => { this.width = width; this.draw(); });
  }

  get whole() {
    const all = this.lines.flatMap((line) => [line.steps[0], line.steps[line.steps.length - 1]]);
    const low = Math.min(...all), high = Math.max(...all);
    return low < high ? [low, high] : [low - 1, high + 1];
  }

  scales() {
    const [from, to] = this.range || this.whole;
    let low = Infinity, high = -Infinity;
    if (this.options.range) [low, high] = this.options.range;
    else for (const line of this.lines) line.values.forEach((value, i) => {
      if (line.steps[i] >= from && line.steps[i] <= to) { low = Math.min(low, value); high = Math.max(high, value); }
    });
    if (!(low < high)) { const middle = Number.isFinite(low) ? low : 0; low = middle - Math.abs(middle) * 0.1 - 1e-9; high = middle + Math.abs(middle) * 0.1 + 1e-9; }
    // a loss that falls by orders of magnitude is drawn on a logarithmic scale
    const log = this.options.log && low > 0 && high / low > 30, bent = log ? Math.log10 : (value) => value;
    const [least, most] = [bent(low), bent(high)], room = this.options.range ? 0 : 0.05 * (most - least);
    if (!log) { low -= room; high += room; }
    const height = this.options.height || 170, { left, right, top, bottom } = SHAPE;
    const x = (step) => left + ((step - from) / (to - from)) * (this.width - left - right);
    const y = (value) => height - bottom - ((bent(value) - least + room) / (most - least + 2 * room)) * (height - top - bottom);
    const step = (px) => from + ((px - left) / (this.width - left - right)) * (to - from);
    return { from, to, low, high, log, height, x, y, step };
  }

  draw() {
    if (!this.width) return;
    const s = this.scales(), { left, right, top, bottom } = SHAPE, o = this.options;
    const label = `${o.title}: ` + this.lines.map((line) => `${line.name} from ${few(line.values[0])} to ${few(line.values[line.values.length - 1])}`).join("; ");
    const svg = sv("svg", { viewBox: `0 0 ${this.width} ${s.height}`, width: this.width, height: s.height, role: "img", "aria-label": label });
    for (const value of s.log ? powers(s.low, s.high) : ticks(s.low, s.high, 4)) {
      svg.append(sv("line", { class: "grid", x1: left, x2: this.width - right, y1: s.y(value), y2: s.y(value) }),
        sv("text", { class: "tick", x: left - 6, y: s.y(value) + 3.5, "text-anchor": "end" }, o.format ? o.format(value) : few(value)));
    }
    for (const value of ticks(s.from, s.to, Math.max(2, this.width / 75)).filter(Number.isInteger)) {
      svg.append(sv("text", { class: "tick", x: s.x(value), y: s.height - 8, "text-anchor": "middle" }, value.toLocaleString("en")));
    }
    const clip = "clip-" + (Chart.count = (Chart.count || 0) + 1);
    svg.append(sv("clipPath", { id: clip }, sv("rect", { x: left, y: 0, width: Math.max(1, this.width - left - right), height: s.height })));
    const inside = sv("g", { "clip-path": `url(#${clip})` });
    if (o.mark !== null && o.mark !== undefined) {
      inside.append(sv("line", { class: "mark", x1: s.x(o.mark), x2: s.x(o.mark), y1: top, y2: s.height - bottom }));
    }
    for (const line of this.lines) {
      let path = "", open = false;
      line.values.forEach((value, i) => {
        if (!Number.isFinite(value)) { open = false; return; }
        path += `${open ? "L" : "M"}${s.x(line.steps[i]).toFixed(1)} ${s.y(value).toFixed(1)}`; open = true;
      });
      inside.append(sv("path", { class: "line " + line.className, d: path }));
      if (line.dots && line.steps.length < 80) {
        line.values.forEach((value, i) => inside.append(sv("circle", { class: "dot " + line.className, cx: s.x(line.steps[i]), cy: s.y(value), r: 2.2 })));
      }
    }
    this.cross = sv("line", { class: "cross", y1: top, y2: s.height - bottom, visibility: "hidden" });
    this.area = sv("rect", { class: "area", y: top, height: s.height - top - bottom, visibility: "hidden" });
    svg.append(inside, this.area, this.cross);
    this.pointer(svg, s);
    this.plot.replaceChildren(svg);
    this.svg = svg;
    this.at(this.cursor);
  }

  pointer(svg, s) {
    let began = null;
    const place = (event) => clamp(event.clientX - svg.getBoundingClientRect().left, SHAPE.left, this.width - SHAPE.right);
    svg.addEventListener("pointerdown", (event) => {
      if (this.options.onPick) { this.options.onPick(Math.round(s.step(place(event)))); }
      if (this.options.group) { began = place(event); svg.setPointerCapture(event.pointerId); }
    });
    svg.addEventListener("pointermove", (event) => {
      const px = place(event);
      if (began !== null) {
        this.area.setAttribute("x", Math.min(began, px)); this.area.setAttribute("width", Math.abs(px - began));
        this.area.setAttribute("visibility", "visible");
      } else if (this.options.group) this.options.group.forEach((chart) => chart.at(s.step(px)));
      else if (this.options.onPick && event.buttons) this.options.onPick(Math.round(s.step(px)));
    });
    svg.addEventListener("pointerup", (event) => {
      if (began === null) return;
      const [one, other] = [began, place(event)].sort((a, b) => a - b); began = null;
      this.area.setAttribute("visibility", "hidden");
      if (other - one > 8) this.options.group.forEach((chart) => chart.zoom([s.step(one), s.step(other)]));
    });
    svg.addEventListener("pointerleave", () => { if (this.options.group && began === null) this.options.group.forEach((chart) => chart.at(null)); });
    svg.addEventListener("dblclick", () => { if (this.options.group) this.options.group.forEach((chart) => chart.zoom(null)); });
  }

  zoom(range) { this.range = range; this.cursor = null; this.draw(); }

  // Show the values nearest to a step in the legend; null: the last ones.
  at(step) {
    this.cursor = step;
    if (!this.cross) return;
    const s = this.scales(), show = this.options.format || few;
    const visible = step !== null && step >= s.from && step <= s.to;
    this.cross.setAttribute("visibility", visible ? "visible" : "hidden");
    if (visible) { this.cross.setAttribute("x1", s.x(step)); this.cross.setAttribute("x2", s.x(step)); }
    this.legend.replaceChildren(...this.lines.map((line) => {
      let i = line.steps.length - 1;
      if (visible) i = line.steps.reduce((best, at, j) => (Math.abs(at - step) < Math.abs(line.steps[best] - step) ? j : best), 0);
      return el("span", { class: "key " + line.className }, el("i", { "aria-hidden": "true" }), el("bdi", null, line.name), " ", el("b", null, show(line.values[i])),
        this.options.group ? el("small", null, ` at ${line.steps[i].toLocaleString("en")}`) : null);
    }));
  }
}

function drawCurves() {
  const found = D.curves.lines, box = byId("charts"), group = [];
  const panels = [["loss", ["train/loss", "valid/loss"], few], ["accuracy", ["train/accuracy", "valid/accuracy"], (x) => `${+(100 * x).toFixed(1)} %`], ["learning rate", ["train/lr"], few]];
  const buttons = el("div", { class: "buttons", role: "group", "aria-label": "Zoom of the charts" });
  const by = (factor) => () => group.forEach((chart) => {
    const [low, high] = chart.whole, [from, to] = chart.range || [low, high];
    const middle = (from + to) / 2, half = ((to - from) / 2) * factor;
    chart.zoom(half * 2 >= high - low ? null : [clamp(middle - half, low, high - 2 * half), clamp(middle + half, low + 2 * half, high)]);
  });
  const move = (share) => () => group.forEach((chart) => {
    if (!chart.range) return;
    const [low, high] = chart.whole, [from, to] = chart.range, by = clamp(share * (to - from), low - from, high - to);
    chart.zoom([from + by, to + by]);
  });
  const all = () => group.forEach((chart) => chart.zoom(null));
  for (const [text, said, act] of [["+", "Zoom in", by(0.5)], ["−", "Zoom out", by(2)], ["←", "Earlier", move(-0.5)], ["→", "Later", move(0.5)], ["all", "All steps", all]]) {
    buttons.append(el("button", { type: "button", "aria-label": said, onclick: act }, text));
  }
  const inner = el("div", { class: "charts" });
  box.append(inner, buttons);
  byId("curves").addEventListener("keydown", (event) => { if (event.key === "Escape") all(); });
  for (const [title, names, format] of panels) {
    const lines = names.filter((name) => found[name]).map((name) => ({
      name: name === "train/lr" ? "learning rate" : name.split("/")[0], className: name.startsWith("valid") ? "c1" : names.length > 1 ? "c0" : "c2",
      dots: name.startsWith("valid"), steps: found[name].steps, values: found[name].values,
    }));
    if (!lines.length) continue;
    const place = el("div", { class: "chart" });
    inner.append(place);
    const best = D.curves.best;
    group.push(new Chart(place, lines, { title, format, group, mark: best, log: title === "loss" }));
  }
}

function drawBars() {
  const box = byId("bars");
  for (const bar of D.bars) {
    const track = el("div", { class: "track" }, el("div", { class: "filled" }), "low" in bar ? el("div", { class: "whisker" }) : null);
    track.children[0].style.width = 100 * bar.value + "%";
    if ("low" in bar) { track.children[1].style.left = 100 * bar.low + "%"; track.children[1].style.width = 100 * (bar.high - bar.low) + "%"; }
    box.append(el("div", { class: "bar" }, el("span", { class: "what" }, el("bdi", null, bar.name)), track, el("span", { class: "value" }, percent(bar.value))));
  }
}

function drawReliability() {
  const box = byId("sure"), bins = D.reliability;
  onWidth(box, (full) => {
    const width = Math.min(full, 560), high = 260, low = 70, left = 62, right = 20, top = 10, gap = 22;
    const x = (share) => left + share * (width - left - right), y = (share) => top + (1 - share) * high;
    const most = Math.max(...bins.map((bin) => bin.count)), base = top + high + gap + low;
    const said = bins.map((bin) => `confidence ${percent(bin.confidence)}: accuracy ${percent(bin.accuracy)}, ${bin.count} examples`).join("; ");
    const svg = sv("svg", { viewBox: `0 0 ${width} ${base + 40}`, width, height: base + 40, role: "img", "aria-label": "Reliability. " + said });
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(sv("line", { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }),
        sv("text", { class: "tick", x: left - 6, y: y(share) + 3.5, "text-anchor": "end" }, `${100 * share} %`),
        sv("text", { class: "tick", x: x(share), y: base + 16, "text-anchor": "middle" }, `${100 * share} %`));
    }
    svg.append(sv("line", { class: "even", x1: x(0), x2: x(1), y1: y(0), y2: y(1) }));
    for (const bin of bins) {
      const wide = Math.max(3, (width - left - right) / 15 - 3), tall = (low * Math.log1p(bin.count)) / Math.log1p(most);
      const middle = x((Math.min(14, Math.floor(bin.confidence * 15)) + 0.5) / 15);
      svg.append(sv("line", { class: "whisk", x1: x(bin.confidence), x2: x(bin.confidence), y1: y(bin.low), y2: y(bin.high) }),
        sv("circle", { class: "point", cx: x(bin.confidence), cy: y(bin.accuracy), r: 3.6 }),
        sv("rect", { class: "count", x: middle - wide / 2, width: wide, y: base - tall, height: tall }),
        sv("text", { class: "tick small", x: middle, y: base - tall - 3, "text-anchor": "middle" }, bin.count.toLocaleString("en")));
    }
    svg.append(sv("text", { class: "tick", x: (left + width) / 2, y: base + 34, "text-anchor": "middle" }, "confidence of the prediction; bars: examples (logarithmic)"),
      sv("text", { class: "tick", x: 12, y: top + high / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${top + high / 2})` }, "accuracy"));
    box.replaceChildren(svg);
  });
}
