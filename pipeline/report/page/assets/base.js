"use strict";
// What all scripts share. Texts become nodes of text, never markup.
const D = JSON.parse(document.getElementById("report-data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const sv = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const named = (number) => el("bdi", null, D.classes[number] ?? "?");

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const percent = (share) => (100 * share).toFixed(share > 0.0995 && share < 0.9995 ? 1 : 2) + " %";
function few(x) {
  const size = Math.abs(x);
  if (x === 0) return "0";
  if (size >= 1e6 || size < 1e-4) return x.toExponential(1);
  return String(Number(x.toPrecision(4)));
}

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}
function valuesOf(item) {
  const bytes = bytesOf(item.values);
  return item.bytes ? Float32Array.from(bytes) : new Float32Array(bytes.buffer);
}

// Round numbers between low and high, about so many.
function ticks(low, high, about) {
  const rough = (high - low) / Math.max(1, about);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Powers of ten between low and high; of a few, three times as much too.
function powers(low, high) {
  const found = [], few = Math.log10(high / low) < 3;
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of few ? [1, 3] : [1]) if (digit * 10 ** power >= low && digit * 10 ** power <= high) found.push(Number((digit * 10 ** power).toPrecision(3)));
  }
  return found;
}

// Draw now, and again whenever the width of the box changes.
function onWidth(box, draw) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(box.clientWidth);
    if (width > 0 && width !== last) { last = width; draw(width); }
  }).observe(box);
}
