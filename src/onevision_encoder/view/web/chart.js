// Tokens of each frame over time, with what the source spent on it: bars up, bytes down, keyframes marked.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const CHART = { width: 1000, up: 120, down: 46, gap: 16 };
const KINDS = ["anchor", "codec", "fill"], KIND_WORDS = ["anchor", "by signal", "by rule"];

function svg(name, attributes, parent) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent?.append(node);
  return node;
}

// Number of chosen units of each kind in each frame: [[anchor, codec, fill], ...].
function countKinds(clip, kind) {
  const units = clip.rows * clip.cols, counts = Array.from({ length: clip.frames }, () => [0, 0, 0]);
  kind.forEach((k, at) => k !== NOT_CHOSEN && counts[Math.floor(at / units)][k]++);
  return counts;
}

function drawChart(root, clip, counts) {
  const { width, up, down, gap } = CHART, step = width / clip.frames, bar = Math.max(step * 0.82, step - 2);
  root.replaceChildren();
  root.setAttribute("viewBox", `0 0 ${width} ${up + gap + down}`);
  const most = Math.max(...counts.map(sum), 1);
  counts.forEach((byKind, t) => {
    let top = up;
    byKind.forEach((count, k) => {
      if (!count) return;
      const height = (count / most) * up;
      top -= height;
      svg("rect", { x: t * step, y: top, width: bar, height, class: KINDS[k] }, root);
    });
  });
  svg("line", { x1: 0, x2: width, y1: up, y2: up, class: "axis" }, root);
  clip.keyframes.forEach((key, t) => key && svg("rect", { x: t * step, y: up + 5, width: bar, height: 6, class: "key" }, root));
  if (clip.bytes) {
    const largest = Math.max(...clip.bytes, 1);
    clip.bytes.forEach((bytes, t) =>
      svg("rect", { x: t * step, y: up + gap, width: bar, height: (bytes / largest) * down, class: "bytes" }, root));
  }
  svg("rect", { x: 0, y: 0, width: bar, height: up + gap + down, class: "now", id: "now" }, root);
}

function moveChartTo(root, clip, t) {
  root.querySelector("#now")?.setAttribute("x", (t * CHART.width) / clip.frames);
}
