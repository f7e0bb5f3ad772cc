// What a reader changes: a drawn image, a bent channel.

// A pad to draw on. What is drawn is brought to the size, place and thickness that the images of the train split have.
class Pad {
  constructor(lab) {
    this.lab = lab; this.strokes = [];
    this.canvas = el("canvas", { class: "pad", width: 280, height: 280, id: "pad", role: "img", "aria-label": "Pad: draw with the mouse, a pen or a finger" });
    const said = "What you draw is brought to the size, the place and the thickness of the train split’s images.";
    lab.tools.append(this.canvas, el("p", { class: "hint" }, said, " ", el("button", { type: "button", onclick: () => this.clear() }, "clear")));
    const place = (event) => { const box = this.canvas.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * 280, ((event.clientY - box.top) / box.height) * 280]; };
    this.canvas.addEventListener("pointerdown", (event) => { event.preventDefault(); this.canvas.setPointerCapture(event.pointerId); this.strokes.push([place(event)]); this.drawing = true; this.changed(); });
    this.canvas.addEventListener("pointermove", (event) => { if (this.drawing) { this.strokes[this.strokes.length - 1].push(place(event)); this.changed(); } });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => { this.drawing = false; });
    this.clear();
  }

  clear() { this.strokes = []; const context = this.canvas.getContext("2d"); context.fillStyle = "#000"; context.fillRect(0, 0, 280, 280); context.fillStyle = "#9a9a9a"; context.font = "20px system-ui"; context.textAlign = "center"; context.fillText("draw one yourself", 140, 145); }

  changed() {
    this.trace(this.canvas.getContext("2d"), 280, 280, (point) => point, 18);
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      const values = this.asRead();
      this.lab.show(values, this.lab.steps, {});
      this.lab.to(this.lab.steps);
    });
  }

  trace(context, width, height, place, thick) {
    context.fillStyle = "#000"; context.fillRect(0, 0, width, height);
    context.strokeStyle = "#fff"; context.lineWidth = thick; context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      stroke.forEach((point, i) => { const [x, y] = place(point); if (i) context.lineTo(x, y); else { context.moveTo(x, y); context.lineTo(x + 0.01, y); } });
      context.stroke();
    }
  }

  // The strokes as an image (h * w) of shares of ink.
  shares(shift) {
    const [h, w] = D.form.image, ink = D.form.ink, fine = 8, points = this.strokes.flat();
    const lows = [0, 1].map((k) => Math.min(...points.map((point) => point[k]))), highs = [0, 1].map((k) => Math.max(...points.map((point) => point[k])));
    const side = Math.max(highs[0] - lows[0], highs[1] - lows[1]), scale = Math.min((ink.side - ink.stroke) / Math.max(side, 1e-9), h / 60);
    const place = ([x, y]) => [(ink.centre[1] + shift[1] + (x - (lows[0] + highs[0]) / 2) * scale) * fine, (ink.centre[0] + shift[0] + (y - (lows[1] + highs[1]) / 2) * scale) * fine];
    const canvas = el("canvas", { width: w * fine, height: h * fine }), context = canvas.getContext("2d", { willReadFrequently: true });
    this.trace(context, w * fine, h * fine, place, ink.stroke * fine);
    const data = context.getImageData(0, 0, w * fine, h * fine).data, shares = new Float64Array(h * w);
    for (let y = 0; y < h * fine; y++) for (let x = 0; x < w * fine; x++) shares[Math.floor(y / fine) * w + Math.floor(x / fine)] += data[4 * (y * w * fine + x)] / (255 * fine * fine);
    return shares;
  }

  asRead() {
    const [h, w] = D.form.image, { ink, order, low, high } = D.form;
    let shares = this.shares([0, 0]);
    if (ink.by_mass) {
      let mass = 0, down = 0, across = 0;
      shares.forEach((share, i) => { mass += share; down += share * (Math.floor(i / w) + 0.5); across += share * ((i % w) + 0.5); });
      shares = this.shares([ink.centre[0] - down / mass, ink.centre[1] - across / mass]);
    }
    const pixels = shares.map((share) => Math.round(low + Math.min(1, share) * ink.peak * (high - low)));
    return Float32Array.from({ length: order ? order.length : h * w }, (_, place) => pixels[order ? order[place] : place]);
  }
}

// A series whose channels can be bent: drag up or down, or use the buttons at the step of the slider.
class Bend {
  constructor(lab) {
    this.lab = lab; this.channel = drawnChannels()[0];
    this.select = el("select", { id: "channel", onchange: () => { this.channel = Number(this.select.value); this.draw(); } }, drawnChannels().map((channel) => el("option", { value: channel }, D.form.channels[channel].slice(0, 60))));
    this.plot = el("div", { class: "plot", id: "bend" });
    lab.picture.append(this.plot);
    const by = (deviations) => () => this.change(this.lab.step - 1, deviations * (D.form.std[this.channel] || 1));
    lab.tools.append(el("div", { class: "choose" }, el("label", { for: "channel" }, "Bend channel "), this.select,
      el("button", { type: "button", "aria-label": "Raise the channel at the step of the slider", onclick: by(0.5) }, "raise"), el("button", { type: "button", "aria-label": "Lower the channel at the step of the slider", onclick: by(-0.5) }, "lower")),
    el("p", { class: "hint" }, "Drag the line up or down: the model reads the bent series at once."), channelKey());
    onWidth(this.plot, (width) => { this.width = width; this.draw(); });
  }

  // Add a bump at a step, half a tenth of the series wide.
  change(at, by) {
    const { values, steps } = this.lab, F = values.length / steps, wide = Math.max(0.6, steps / 20), bent = Float32Array.from(values);
    for (let t = 0; t < steps; t++) bent[t * F + this.channel] += by * Math.exp(-0.5 * ((t - at) / wide) ** 2);
    this.lab.show(bent, steps, {});
  }

  draw() {
    if (!this.width || !this.lab.values) return;
    const { values, steps, step } = this.lab, lines = linesOf(values, steps), all = lines.flatMap((line) => line.points).filter(Number.isFinite);
    const width = this.width, height = 230, left = 40, right = 8, top = 8, bottom = 24;
    if (!this.held) { this.low = Math.min(...all); this.high = Math.max(...all); const room = 0.1 * (this.high - this.low) || 1; this.low -= room; this.high += room; }
    const x = (t) => left + (t / Math.max(1, steps - 1)) * (width - left - right), y = (v) => top + (1 - (v - this.low) / (this.high - this.low)) * (height - top - bottom);
    const svg = sv("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `The series, ${steps} steps; what was read up to step ${step} lies left of the line` });
    for (const value of ticks(this.low, this.high, 4)) svg.append(sv("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }), sv("text", { class: "tick", x: left - 5, y: y(value) + 3.5, "text-anchor": "end" }, few(value)));
    for (const t of ticks(0, steps - 1, 5).filter(Number.isInteger)) svg.append(sv("text", { class: "tick", x: x(t), y: height - 8, "text-anchor": "middle" }, t));
    lines.forEach((line, k) => {
      let path = "", open = false;
      line.points.forEach((value, t) => { if (Number.isFinite(value)) { path += `${open ? "L" : "M"}${x(t).toFixed(1)} ${y(value).toFixed(1)}`; open = true; } else open = false; });
      svg.append(sv("path", { class: `line k${k % 7}${k > 6 ? " dashed" : ""}${line.channel === this.channel ? " chosen" : " faint"}`, d: path }));
    });
    svg.append(sv("rect", { class: "unread", x: x(step - 1), width: Math.max(0, width - right - x(step - 1)), y: top, height: height - top - bottom }), sv("line", { class: "cross", x1: x(step - 1), x2: x(step - 1), y1: top, y2: height - bottom }));
    this.plot.replaceChildren(svg);
    const unit = D.form.channels.length === 1 ? 1 : D.form.std[this.channel] || 1, perPixel = ((this.high - this.low) / (height - top - bottom)) * unit;
    svg.addEventListener("pointerdown", (event) => {
      const box = this.plot.getBoundingClientRect(), at = clamp(Math.round(((event.clientX - box.left - left) / (width - left - right)) * (steps - 1)), 0, steps - 1), from = event.clientY, before = values;
      event.preventDefault(); this.held = true;
      const move = (next) => { this.lab.values = before; this.change(at, (from - next.clientY) * perPixel); };
      const up = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", up); this.held = false; this.draw(); };
      addEventListener("pointermove", move); addEventListener("pointerup", up);
    });
  }
}
