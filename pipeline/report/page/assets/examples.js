// Examples: pictures of them, cards, the cells of the confusion matrix.
const MANY = 12; // channels drawn together
const ROWS = 20; // classes whose examples are shown at once

// The channels that are drawn: those of the largest spread, in their order.
function drawnChannels() {
  const spread = D.form.channels.map((_, i) => [D.form.std[i], i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  return spread.slice(0, MANY).map((pair) => pair[1]).sort((a, b) => a - b);
}

// An image on a canvas, each pixel as it is. read: steps that are shown in full, the others pale.
function paintImage(canvas, values, steps, read) {
  const [height, width] = D.form.image, { order, low, high } = D.form, F = values.length / steps;
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let place = 0; place < values.length; place++) {
    const pixel = order ? order[place] : place, grey = 255 * clamp((values[place] - low) / (high - low || 1), 0, 1);
    image.data.set([grey, grey, grey, read === undefined || Math.floor(place / F) < read ? 255 : 70], 4 * pixel);
  }
  context.putImageData(image, 0, 0);
}

// The lines of a series: per channel the values at all steps, in raw units if there is one, else in standard deviations.
function linesOf(values, steps) {
  const F = values.length / steps, form = D.form, alone = form.channels.length === 1;
  return drawnChannels().map((channel) => {
    const mark = form.masked.indexOf(channel), flag = mark < 0 ? -1 : form.channels.length + mark;
    const points = Array.from({ length: steps }, (_, t) => {
      if (flag >= 0 && values[t * F + flag] > 0) return NaN;
      const value = values[t * F + channel];
      return alone ? value + (form.offset[0] || 0) : (value - form.mean[channel]) / (form.std[channel] || 1);
    });
    return { channel, name: form.channels[channel], points };
  });
}

// A small picture of a series with its axes; across: the steps of the longest beside it, so that short ones look short.
function sparkline(values, steps, across, width, height) {
  const lines = linesOf(values, steps), all = lines.flatMap((line) => line.points).filter(Number.isFinite);
  let low = Math.min(...all), high = Math.max(...all);
  if (!(low < high)) { low -= 1; high += 1; }
  const left = 30, right = 4, top = 4, bottom = 15, F = (x) => x.toFixed(1);
  const x = (t) => left + (t / Math.max(1, across - 1)) * (width - left - right), y = (v) => top + (1 - (v - low) / (high - low)) * (height - top - bottom);
  const svg = sv("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true" });
  svg.append(sv("line", { class: "axis", x1: left, x2: left, y1: top, y2: height - bottom }), sv("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  for (const [value, at] of [[high, top + 7], [low, height - bottom]]) svg.append(sv("text", { class: "tick small", x: left - 3, y: at, "text-anchor": "end" }, few(Number(value.toPrecision(2)))));
  svg.append(sv("text", { class: "tick small", x: left, y: height - 4 }, "0"), sv("text", { class: "tick small", x: x(steps - 1), y: height - 4, "text-anchor": "end" }, steps - 1));
  lines.forEach((line, k) => {
    let path = "", open = false;
    line.points.forEach((value, t) => { if (Number.isFinite(value)) { path += `${open ? "L" : "M"}${F(x(t))} ${F(y(value))}`; open = true; } else open = false; });
    svg.append(sv("path", { class: `line k${k % 7}${k > 6 ? " dashed" : ""}`, d: path }));
  });
  return svg;
}

// Which colour is which channel.
function channelKey() {
  if (D.form.kind !== "series") return null;
  const drawn = drawnChannels(), of = D.form.channels.length;
  return el("p", { class: "legend" }, drawn.map((channel, k) => el("span", { class: `key k${k % 7}${k > 6 ? " dashed" : ""}` }, el("i", { "aria-hidden": "true" }), el("bdi", null, D.form.channels[channel]))),
    el("span", { class: "quiet-note" }, of === 1 ? "raw values over steps" : "in standard deviations from the mean of the train split, over steps" + (of > drawn.length ? `; ${drawn.length} of ${of} channels, those of the largest spread` : "")));
}

function pictureOf(item, across) {
  const values = valuesOf(item);
  if (D.form.kind === "image") {
    const canvas = el("canvas", { class: "pixels", "aria-hidden": "true" });
    paintImage(canvas, values, item.steps);
    return canvas;
  }
  return sparkline(values, item.steps, across, 210, 92);
}

const longestOf = (names) => Math.max(...names.map((name) => D.examples[name].steps));

// A card: the picture, what it is and what the model said; it opens in the model if there is one.
function card(name, across) {
  const item = D.examples[name], guessed = "guess" in item, wrong = guessed && item.guess !== item.label;
  const said = `${D.classes[item.label]}${guessed ? `, predicted ${D.classes[item.guess]}, ${percent(item.sure)}` : ""}; ${item.split} example ${item.index}`;
  const inner = [pictureOf(item, across), el("span", { class: "caption" },
    el("span", { class: wrong ? "wrong" : "right" }, named(item.label), wrong ? [" → ", named(item.guess)] : null),
    el("span", { class: "soft" }, guessed ? percent(item.sure) + " " : "", `#${item.index}`))];
  if (!D.model) return el("div", { class: "card", role: "img", "aria-label": said }, inner);
  return el("button", { type: "button", class: "card", "aria-label": `Open in the model: ${said}`, "data-example": name, onclick: () => openInModel(name) }, inner);
}

function cards(names) {
  const across = longestOf(names);
  return el("div", { class: "cards " + D.form.kind }, names.map((name) => card(name, across)));
}

const inCell = (label, guess) => Object.keys(D.examples).filter((name) => D.examples[name].guess === guess && D.examples[name].label === label);

function openCell(button) {
  const [label, guess] = button.dataset.cell.split("-").map(Number), count = Number(button.textContent.match(/\d+$/)?.[0] || 0), box = byId("opened");
  const names = D.form ? inCell(label, guess) : [], already = button.getAttribute("aria-expanded") === "true";
  document.querySelectorAll("[data-cell][aria-expanded]").forEach((other) => other.removeAttribute("aria-expanded"));
  box.replaceChildren();
  if (already) return;
  button.setAttribute("aria-expanded", "true");
  box.append(el("h3", null, label === guess ? ["Label ", named(label), ", predicted right"] : ["Label ", named(label), ", predicted ", named(guess)], el("small", null, ` ${names.length < count ? `${names.length} of ${count}` : count} shown`)));
  if (names.length) box.append(cards(names), channelKey() || "");
  else box.append(el("p", null, "Their values are not in this page: there was no room. eval/predictions.csv names them."));
}

function drawExamples() {
  document.querySelectorAll("[data-cell]").forEach((button) => button.addEventListener("click", () => openCell(button)));
  if (!D.form) return;
  const all = Object.keys(D.examples), worst = byId("worst"), samples = byId("samples");
  if (worst) {
    const wrong = all.filter((name) => "guess" in D.examples[name] && D.examples[name].guess !== D.examples[name].label).sort((a, b) => D.examples[b].sure - D.examples[a].sure).slice(0, 24);
    if (wrong.length) worst.replaceWith(el("p", { class: "hint" }, "Label → prediction, the probability of the prediction, the example’s index in eval/predictions.csv."), cards(wrong), channelKey() || "");
    else worst.replaceWith(el("p", null, "There is none."));
  }
  const train = all.filter((name) => D.examples[name].split === "train");
  if (samples && train.length) {
    const labels = [...new Set(train.map((name) => D.examples[name].label))].sort((a, b) => a - b), across = longestOf(train);
    const rows = (some) => el("div", { class: "rows " + D.form.kind }, some.map((label) => el("div", { class: "row" }, el("span", { class: "class" }, named(label)),
      el("div", { class: "cards " + D.form.kind }, train.filter((name) => D.examples[name].label === label).map((name) => card(name, across))))));
    samples.append(el("h3", null, "Examples of the train split"), rows(labels.slice(0, ROWS)), channelKey() || "");
    if (labels.length > ROWS) samples.append(el("details", null, el("summary", null, `Examples of ${labels.length - ROWS} classes more`), rows(labels.slice(ROWS))));
  }
}

function drawLengths() {
  const box = byId("lengths"), { edges, width: step, parts } = D.lengths;
  box.append(el("h3", null, "Lengths"), el("p", { class: "legend" }, parts.map((part, k) => el("span", { class: `key k${k}` }, el("i", { "aria-hidden": "true" }), part.name))));
  const plot = el("div");
  box.append(plot);
  onWidth(plot, (full) => {
    const width = Math.min(full, 720), height = 150, left = 46, bottom = 30, top = 8, bins = edges.length - 1, each = (width - left - 8) / bins;
    const shares = parts.map((part) => { const sum = part.counts.reduce((a, b) => a + b, 0) || 1; return part.counts.map((count) => count / sum); });
    const most = Math.max(...shares.flat()), y = (share) => height - bottom - (share / most) * (height - bottom - top);
    const said = parts.map((part) => `${part.name}: ` + part.counts.map((count, i) => (count ? `${count} of ${edges[i]}${step > 1 ? ` to ${edges[i + 1] - 1}` : ""} steps` : "")).filter(Boolean).join(", ")).join("; ");
    const svg = sv("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Lengths. " + said });
    for (const share of ticks(0, most, 3)) svg.append(sv("line", { class: "grid", x1: left, x2: width - 8, y1: y(share), y2: y(share) }), sv("text", { class: "tick", x: left - 6, y: y(share) + 3.5, "text-anchor": "end" }, `${+(100 * share).toFixed(1)} %`));
    parts.forEach((part, k) => shares[k].forEach((share, i) => { if (share) svg.append(sv("rect", { class: `fill k${k}`, x: left + i * each + ((k + 0.15) * each) / (parts.length + 0.3), width: (0.9 * each) / (parts.length + 0.3), y: y(share), height: height - bottom - y(share) })); }));
    const every = Math.max(1, Math.ceil(bins / (width / 60)));
    for (let i = 0; i < bins; i += every) svg.append(sv("text", { class: "tick", x: left + (i + 0.5) * each, y: height - bottom + 15, "text-anchor": "middle" }, step > 1 ? `${edges[i]}–${edges[i + 1] - 1}` : edges[i]));
    svg.append(sv("text", { class: "tick", x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "steps; share of the split"));
    plot.replaceChildren(svg);
  });
}
