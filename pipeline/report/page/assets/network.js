// The model: the same sums as RecurrentClassifier, in float64 from its float32 weights. x is (T, width), row after row.
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const GATES = { lstm: ["input gate i", "forget gate f", "candidate g", "output gate o"], gru: ["reset gate r", "update gate z", "candidate n"], rnn: ["state"] };

class Network {
  constructor(spec) {
    Object.assign(this, spec);
    this.flat = new Float32Array(bytesOf(spec.weights).buffer);
    this.features = this.shape("mean")[0];
    this.classes = this.shape("head.bias")[0];
    this.causal = this.directions === 1 && !this.conv_norm;
  }

  shape(name) { return this.tensors[name].slice(1); }
  has(name) { return name in this.tensors; }
  get(name) {
    const [start, ...shape] = this.tensors[name];
    return this.flat.subarray(start, start + shape.reduce((a, b) => a * b, 1));
  }

  // Multiplications of one step.
  get cost() {
    let count = 0;
    for (const name in this.tensors) { const shape = this.shape(name); if (shape.length > 1 && !name.startsWith("head")) count += shape.reduce((a, b) => a * b, 1); }
    return count;
  }

  linear(name, x, T) {
    const [outs, ins] = this.shape(name + ".weight"), w = this.get(name + ".weight"), b = this.has(name + ".bias") ? this.get(name + ".bias") : null;
    const y = new Float64Array(T * outs);
    for (let t = 0; t < T; t++) for (let o = 0; o < outs; o++) {
      let sum = b ? b[o] : 0;
      for (let i = 0, at = o * ins, from = t * ins; i < ins; i++) sum += w[at + i] * x[from + i];
      y[t * outs + o] = sum;
    }
    return y;
  }

  layerNorm(name, x, T) {
    const w = this.get(name + ".weight"), b = this.get(name + ".bias"), n = w.length;
    for (let t = 0; t < T; t++) {
      let mean = 0, square = 0;
      for (let i = 0; i < n; i++) mean += x[t * n + i] / n;
      for (let i = 0; i < n; i++) square += (x[t * n + i] - mean) ** 2 / n;
      const scale = 1 / Math.sqrt(square + 1e-5);
      for (let i = 0; i < n; i++) x[t * n + i] = (x[t * n + i] - mean) * scale * w[i] + b[i];
    }
    return x;
  }

  // One recurrent module over x, backwards if asked. kept: what it computed at each step, as (T, H), by name.
  recur(index, x, T, backward, kept) {
    const at = `recurrent.${index}.`, H = this.hidden, wi = this.get(at + "weight_ih_l0"), wh = this.get(at + "weight_hh_l0");
    const bi = this.get(at + "bias_ih_l0"), bh = this.get(at + "bias_hh_l0"), rows = bi.length, width = this.shape(at + "weight_ih_l0")[1];
    const out = new Float64Array(T * H), h = new Float64Array(H), c = new Float64Array(H), a = new Float64Array(rows), r = new Float64Array(rows);
    const gates = kept ? GATES[this.cell].map(() => new Float32Array(T * H)) : null, cells = kept ? new Float32Array(T * H) : null;
    for (let n = 0; n < T; n++) {
      const t = backward ? T - 1 - n : n;
      for (let row = 0; row < rows; row++) {
        let sum = bi[row], again = bh[row];
        for (let i = 0, w = row * width, from = t * width; i < width; i++) sum += wi[w + i] * x[from + i];
        for (let i = 0, w = row * H; i < H; i++) again += wh[w + i] * h[i];
        a[row] = sum; r[row] = again;
      }
      for (let j = 0; j < H; j++) {
        let found;
        if (this.cell === "lstm") {
          const i = sigmoid(a[j] + r[j]), f = sigmoid(a[H + j] + r[H + j]), g = Math.tanh(a[2 * H + j] + r[2 * H + j]), o = sigmoid(a[3 * H + j] + r[3 * H + j]);
          c[j] = f * c[j] + i * g; h[j] = o * Math.tanh(c[j]); found = [i, f, g, o];
        } else if (this.cell === "gru") {
          const reset = sigmoid(a[j] + r[j]), z = sigmoid(a[H + j] + r[H + j]), fresh = Math.tanh(a[2 * H + j] + reset * r[2 * H + j]);
          h[j] = (1 - z) * fresh + z * h[j]; found = [reset, z, fresh];
        } else { h[j] = Math.tanh(a[j] + r[j]); found = [h[j]]; }
        out[t * H + j] = h[j];
        if (kept) { gates.forEach((gate, k) => { gate[t * H + j] = found[k]; }); cells[t * H + j] = c[j]; }
      }
    }
    if (kept) {
      kept["hidden state h"] = Float32Array.from(out);
      if (this.cell === "lstm") kept["cell state c"] = cells;
      if (this.cell !== "rnn") GATES[this.cell].forEach((name, k) => { kept[name] = gates[k]; });
    }
    return this.has(`norms.${index}.weight`) ? this.layerNorm(`norms.${index}`, out, T) : out;
  }

  convolve(x, T) {
    for (let k = 0; k < 3; k++) {
      const at = `convolutions.filters.${k}`, [outs, ins, wide] = this.shape(at + ".weight"), w = this.get(at + ".weight"), b = this.get(at + ".bias");
      const y = new Float64Array(T * outs), before = (wide - 1) >> 1, norm = `convolutions.norms.${k}`;
      for (let t = 0; t < T; t++) for (let o = 0; o < outs; o++) {
        let sum = b[o];
        for (let d = 0; d < wide; d++) {
          const from = t + d - before;
          if (from >= 0 && from < T) for (let i = 0; i < ins; i++) sum += w[(o * ins + i) * wide + d] * x[from * ins + i];
        }
        y[t * outs + o] = sum;
      }
      if (this.conv_norm === "batch") {
        const mean = this.get(norm + ".mean"), variance = this.get(norm + ".var"), scale = this.get(norm + ".weight"), shift = this.get(norm + ".bias");
        for (let t = 0; t < T; t++) for (let o = 0; o < outs; o++) y[t * outs + o] = ((y[t * outs + o] - mean[o]) / Math.sqrt(variance[o] + 1e-5)) * scale[o] + shift[o];
      } else this.layerNorm(norm, y, T);
      x = y.map((value) => Math.max(0, value));
    }
    return this.mean(x, T);
  }

  mean(x, T) {
    const n = x.length / T, y = new Float64Array(n);
    for (let t = 0; t < T; t++) for (let i = 0; i < n; i++) y[i] += x[t * n + i] / T;
    return y;
  }

  // The outputs (T, D*H) of the last layer for raw values (T, F). kept: what each module computed, by its name.
  outputs(values, T, kept) {
    const F = this.features, H = this.hidden, mean = this.get("mean"), scale = this.get("scale");
    const normal = new Float64Array(T * F);
    for (let t = 0; t < T; t++) for (let i = 0; i < F; i++) normal[t * F + i] = (values[t * F + i] - mean[i]) * scale[i];
    let x = this.has("projection.weight") ? this.linear("projection", normal, T) : normal;
    for (let layer = 0; layer < this.layers; layer++) {
      const found = [];
      for (let d = 0; d < this.directions; d++) {
        const own = kept ? {} : null;
        found.push(this.recur(layer * this.directions + d, x, T, d === 1, own));
        if (kept) kept[`layer ${layer + 1}` + (this.directions === 2 ? (d ? ", backward" : ", forward") : "")] = own;
      }
      x = found[0];
      if (found.length === 2) {
        x = new Float64Array(T * 2 * H);
        for (let t = 0; t < T; t++) for (let j = 0; j < H; j++) { x[t * 2 * H + j] = found[0][t * H + j]; x[t * 2 * H + H + j] = found[1][t * H + j]; }
      }
    }
    return { x, normal };
  }

  // (T, D*H) -> (D*H), over the first n steps.
  pool(x, T, n) {
    const W = x.length / T, H = this.hidden, y = new Float64Array(W);
    if (this.pooling === "last") {
      for (let i = 0; i < W; i++) y[i] = i < H ? x[(n - 1) * W + i] : x[i];
    } else if (this.pooling === "max") {
      y.fill(-Infinity);
      for (let t = 0; t < n; t++) for (let i = 0; i < W; i++) y[i] = Math.max(y[i], x[t * W + i]);
    } else if (this.pooling === "mean") return this.mean(x.subarray(0, n * W), n);
    else {
      const keys = this.linear("attention.key", x.subarray(0, n * W), n).map(Math.tanh), score = this.linear("attention.query", keys, n);
      const most = score.reduce((a, b) => Math.max(a, b), -Infinity), weight = score.map((one) => Math.exp(one - most)), sum = weight.reduce((a, b) => a + b, 0);
      for (let t = 0; t < n; t++) for (let i = 0; i < W; i++) y[i] += (weight[t] / sum) * x[t * W + i];
    }
    return y;
  }

  head(pooled, beside) {
    const all = beside ? Float64Array.from([...pooled, ...beside]) : pooled;
    return this.linear("head", all, 1);
  }

  logits(values, T, kept) {
    const { x, normal } = this.outputs(values, T, kept);
    return this.head(this.pool(x, T, T), this.conv_norm ? this.convolve(normal, T) : null);
  }

  // What it would say after each of some steps, had the series ended there: [{step, p}], the last one after all T.
  stops(values, T) {
    if (this.causal) {
      const { x } = this.outputs(values, T);
      const every = Math.max(1, Math.ceil(T / 600));
      return stepsOf(T, every).map((n) => ({ step: n, p: softmax(this.head(this.pool(x, T, n))) }));
    }
    const affordable = Math.max(8, Math.floor(1.2e8 / (this.cost * T / 2)));
    return stepsOf(T, Math.max(1, Math.ceil(T / affordable))).map((n) => ({ step: n, p: softmax(this.logits(values, n)) }));
  }
}

function stepsOf(T, every) {
  const found = [];
  for (let n = T; n > 0; n -= every) found.unshift(n);
  if (found[0] !== 1) found.unshift(1);
  return found;
}

function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity), e = Array.from(logits, (x) => Math.exp(x - most)), sum = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / sum);
}

// The largest difference of a logit from those that came with the page.
function largestDifference(network, checks) {
  let largest = 0;
  checks.examples.forEach((name, k) => {
    const item = D.examples[name], found = network.logits(valuesOf(item), item.steps);
    checks.logits[k].forEach((logit, c) => {
      const difference = Math.abs(found[c] - logit);
      largest = Number.isNaN(difference) ? Infinity : Math.max(largest, difference);
    });
  });
  return largest;
}
