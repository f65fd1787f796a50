// The four pictures. Axes: t frame, U units of a frame in raster order; sizes are pixels of the canvas.
"use strict";

const INFERNO = ["000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4"]
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
const HEAT_UNKNOWN = 255, HEAT_TOP = 254;
const VECTOR_STEP = 16; // vectors are stored in 1/16 pixel

function heatColor(level) {
  const at = (Math.min(level, HEAT_TOP) / HEAT_TOP) * (INFERNO.length - 1), low = Math.min(Math.floor(at), INFERNO.length - 2);
  return INFERNO[low].map((c, i) => Math.round(c + (INFERNO[low + 1][i] - c) * (at - low)));
}
const HEAT_COLORS = Array.from({ length: 256 }, (_, level) => heatColor(level));

const theme = () => {
  const style = getComputedStyle(document.documentElement);
  return mapValues({ anchor: "--anchor", codec: "--codec", fill: "--fill", tone: "--tone", ink: "--ink", rule: "--rule" },
    (name) => style.getPropertyValue(name).trim());
};

// A frame without colour and contrast, at the frame's own size; made once and kept.
function fadedFrame(clip, t, colors) {
  const key = `${t} ${colors.tone}`;
  if (!clip.faded.has(key)) {
    const canvas = new OffscreenCanvas(clip.width, clip.height), ctx = canvas.getContext("2d");
    ctx.drawImage(clip.pictures[t], 0, 0);
    ctx.globalCompositeOperation = "saturation";
    ctx.fillStyle = "#808080";
    ctx.fillRect(0, 0, clip.width, clip.height);
    ctx.globalCompositeOperation = "source-over";
    ctx.globalAlpha = 0.66;
    ctx.fillStyle = colors.tone;
    ctx.fillRect(0, 0, clip.width, clip.height);
    clip.faded.set(key, canvas);
  }
  return clip.faded.get(key);
}

function drawFrame(canvas, clip, t) {
  canvas.getContext("2d").drawImage(clip.pictures[t], 0, 0, canvas.width, canvas.height);
}

// Chosen units in full colour over the faded frame, with a line around each region in the colour of its kind.
function drawChosen(canvas, clip, t, kind, colors) {
  const ctx = canvas.getContext("2d"), side = canvas.width / clip.cols, first = t * clip.rows * clip.cols;
  const at = (y, x) => (y < 0 || x < 0 || y >= clip.rows || x >= clip.cols ? NOT_CHOSEN : kind[first + y * clip.cols + x]);
  ctx.drawImage(fadedFrame(clip, t, colors), 0, 0, canvas.width, canvas.height);
  const region = new Path2D(), edges = { anchor: new Path2D(), codec: new Path2D(), fill: new Path2D() };
  const edgeOf = [edges.anchor, edges.codec, edges.fill];
  for (let y = 0; y < clip.rows; y++) {
    for (let x = 0; x < clip.cols; x++) {
      const here = at(y, x);
      if (here === NOT_CHOSEN) continue;
      region.rect(x * side, y * side, side, side);
      const edge = edgeOf[here];
      for (const [dy, dx] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
        if (at(y + dy, x + dx) !== NOT_CHOSEN) continue;
        const left = (x + (dx > 0)) * side + dx, up = (y + (dy > 0)) * side + dy; // one pixel on the faded side
        edge.moveTo(left, up);
        edge.lineTo(left + (dx ? 0 : side), up + (dy ? 0 : side));
      }
    }
  }
  ctx.save();
  ctx.clip(region);
  drawFrame(canvas, clip, t);
  ctx.restore();
  ctx.lineWidth = 2;
  for (const name of ["fill", "codec", "anchor"]) {
    ctx.strokeStyle = colors[name];
    ctx.stroke(edges[name]);
  }
}

// What ranks the patches by this score, as a map to draw; the scale does not shrink to the noise of a still clip.
function saliencyHeat(clip, score) {
  if (score.heat) return score.heat;
  const { rows, cols } = clip, units = rows * cols, cell = clip.patch * clip.merge;
  const known = score.value.filter((_, at) => score.ranked[Math.floor(at / units)]).sort();
  const top = Math.max(25000, known.length ? known[Math.floor(0.99 * (known.length - 1))] : 0);
  const level = Uint8Array.from(score.value, (value, at) =>
    score.ranked[Math.floor(at / units)] ? Math.min(HEAT_TOP, Math.round((value / top) * HEAT_TOP)) : HEAT_UNKNOWN);
  return (score.heat = { rows, cols, cell, top: (top / 1e5).toPrecision(2), unit: "", level });
}

function drawHeat(canvas, clip, t, heat) {
  const ctx = canvas.getContext("2d");
  const cells = new ImageData(heat.cols, heat.rows), first = t * heat.rows * heat.cols;
  for (let i = 0; i < heat.rows * heat.cols; i++) {
    const level = heat.level[first + i];
    cells.data.set(level === HEAT_UNKNOWN ? [0, 0, 0, 0] : [...HEAT_COLORS[level], 255], 4 * i);
  }
  const small = new OffscreenCanvas(heat.cols, heat.rows);
  small.getContext("2d").putImageData(cells, 0, 0);
  hatch(ctx, canvas);
  const scale = canvas.width / clip.width; // cells at the right and lower border may reach beyond the frame
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, 0, 0, heat.cols * heat.cell * scale, heat.rows * heat.cell * scale);
  ctx.imageSmoothingEnabled = true;
  ctx.globalCompositeOperation = "screen"; // a breath of the picture, to see where one is; it only ever adds light
  ctx.globalAlpha = 0.3;
  ctx.filter = "grayscale(1)";
  drawFrame(canvas, clip, t);
  Object.assign(ctx, { globalCompositeOperation: "source-over", globalAlpha: 1, filter: "none" });
}

// What is not known is hatched, not black: black would say "nothing happened".
function hatch(ctx, canvas) {
  ctx.fillStyle = "#30363d";
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.strokeStyle = "#57606a";
  ctx.lineWidth = 2;
  ctx.beginPath();
  for (let x = -canvas.height; x < canvas.width; x += 24) {
    ctx.moveTo(x, canvas.height);
    ctx.lineTo(x + canvas.height, 0);
  }
  ctx.stroke();
}

// Where the content of each cell came from: from there (tail) to here (dot).
function drawVectors(canvas, clip, t, signals) {
  const { rows, cols, cell, vectors } = signals.motion, ctx = canvas.getContext("2d"), scale = canvas.width / clip.width;
  const path = new Path2D(), dots = new Path2D();
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < cols; x++) {
      const at = 2 * ((t * rows + y) * cols + x), dx = vectors[at] / VECTOR_STEP, dy = vectors[at + 1] / VECTOR_STEP;
      if (Math.hypot(dx, dy) < 0.5) continue;
      const right = (x + 0.5) * cell * scale, down = (y + 0.5) * cell * scale;
      path.moveTo(right - dx * scale, down - dy * scale);
      path.lineTo(right, down);
      dots.rect(right - 1.5, down - 1.5, 3, 3);
    }
  }
  ctx.lineWidth = 3;
  ctx.strokeStyle = "rgb(0 0 0 / 55%)";
  ctx.stroke(path);
  ctx.lineWidth = 1.25;
  ctx.strokeStyle = ctx.fillStyle = "#7fe3ff";
  ctx.stroke(path);
  ctx.fill(dots);
}

// Uniform sampling as the model gets it: between two sampled frames it has the earlier one and nothing else.
function drawUniform(canvas, clip, t, kind, colors) {
  const units = clip.rows * clip.cols;
  const count = (row) => kind.subarray(row * units, (row + 1) * units).reduce((n, k) => n + (k !== NOT_CHOSEN), 0);
  let from = t;
  while (from > 0 && count(from) === 0) from--;
  drawChosen(canvas, clip, from, kind, colors);
  return { from, coarse: count(from) < clip.perFrame };
}
