// Why: what each value of an example adds to the answer, and whether the model notices when it is gone.
class Reasons {
  constructor() {
    this.canvas = el("canvas", { role: "img" });
    this.said = el("p", { class: "reason" });
    this.key = el("p", { class: "legend" });
    this.curves = el("div", { class: "chart" });
    this.whole = el("div", null, this.canvas, this.key, this.said, this.curves);
    this.node = D.explain ? el("div", { class: "reasons" }, el("h3", null, "Why"), this.whole) : el("div");
    this.none = el("p", { class: "hint" }, "The attribution of this example is not in the page. To make it: python -m pipeline explain --run RUN --index INDEX");
  }

  // name: of an example of the page; undefined for what somebody drew or bent.
  show(name) {
    if (!D.explain) return;
    const found = D.explain[name];
    this.whole.hidden = !found;
    if (!found) { this.node.append(this.none); return; }
    this.none.remove();
    const values = new Float32Array(bytesOf(found.values).buffer), steps = D.examples[name].steps;
    this.paint(values, steps);
    const sum = found.complete ? `They add up to ${few(found.total)}, as the logit differs from that of the mean.` : `They add up to ${few(found.total)}, and the logit differs by ${few(found.difference)}: do not trust them.`;
    const truth = found.true ? "Without the steps that speak most for it, the probability falls sooner than without others: the attribution is true of the model." : "Without the steps that speak most for it, the probability falls no sooner than without others: do not trust the attribution.";
    this.said.replaceChildren("What speaks for ", el("b", null, named(found.class)), `, compared with the mean of the train split. ${sum} ${truth}`);
    this.said.dataset.sum = found.total; this.said.dataset.true = found.true;
    const line = (label, className, of) => ({ name: label, className, steps: found.gone, values: found[of] });
    const lines = [line("largest first", "k1", "falling"), line("at random", "k0", "random"), line("smallest first", "k2", "rising")];
    if (this.chart) { this.chart.lines = lines; this.chart.range = null; this.chart.draw(); }
    else this.chart = new Chart(this.curves, lines, { title: "Its probability, while steps are taken away", range: [0, 1], height: 150, format: (x) => `${Math.round(100 * x)} %` });
  }

  // An image as it lies; a series with a row per feature and a column per step.
  paint(values, steps) {
    const F = values.length / steps, image = D.form.kind === "image", [height, width] = image ? D.form.image : [F, steps];
    const low = [46, 92, 158], middle = [247, 246, 243], high = [201, 84, 26];
    let most = 1e-12;
    for (const value of values) most = Math.max(most, Math.abs(value));
    this.canvas.width = width; this.canvas.height = height;
    this.canvas.className = image ? "pixels large" : "heat short";
    const context = this.canvas.getContext("2d"), drawn = context.createImageData(width, height);
    for (let place = 0; place < values.length; place++) {
      const share = values[place] / most, end = share < 0 ? low : high, k = Math.min(1, Math.abs(share));
      const pixel = image ? (D.form.order ? D.form.order[place] : place) : (place % F) * steps + Math.floor(place / F);
      drawn.data.set([0, 1, 2].map((i) => middle[i] + k * (end[i] - middle[i])).concat(255), 4 * pixel);
    }
    context.putImageData(drawn, 0, 0);
    this.canvas.setAttribute("aria-label", `attribution, from ${few(-most)} to ${few(most)}`);
    const rows = image ? [] : [el("span", null, "rows from the top: "), ...D.form.channels.slice(0, MANY).map((name) => el("bdi", null, name)), ...(F > Math.min(MANY, D.form.channels.length) ? [el("span", null, `${F} in all`)] : [])];
    this.key.replaceChildren(el("span", { class: "key low" }, el("i", { "aria-hidden": "true" }), `${few(-Number(most.toPrecision(2)))}, against it`), el("span", { class: "key high" }, el("i", { "aria-hidden": "true" }), `${few(Number(most.toPrecision(2)))}, for it`), ...rows);
  }
}
