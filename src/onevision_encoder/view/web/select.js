// The library's selection, once more, for the page: policies codec, uniform and random over units (patches, or 2x2
// blocks of them). Same rules, same order of ties as onevision_encoder.selection; a test holds the two equal.
// Axes: T frames, U = rows * cols units of a frame in raster order; values are saliency in steps of 1e-5.
"use strict";

const ANCHOR = 0, CODEC = 1, FILL = 2, NOT_CHOSEN = 255;
const FRAMES_PER_ANCHOR = 32, COARSE = 4, LEAST = 4;

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const evenly = (count, total) => Array.from({ length: count }, (_, i) => Math.floor(((2 * i + 1) * total) / (2 * count)));
const endToEnd = (count, total) =>
  Array.from({ length: count }, (_, i) => Math.floor((i * (total - 1)) / Math.max(1, count - 1)));

// Rank of every unit in an order whose every beginning is spread evenly (Bayer's dither matrix, shifted per frame).
function coverageOrder(frames, rows, cols) {
  let bits = 1;
  while (1 << bits < Math.max(rows, cols)) bits++;
  const side = 1 << bits, area = side * side;
  const rank = new Uint32Array(area), visit = new Uint32Array(area);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let value = 0;
      for (let bit = 0; bit < bits; bit++) value = (value << 2) | ((((x ^ y) >> bit) & 1) << 1) | ((y >> bit) & 1);
      rank[y * side + x] = value;
      visit[value] = y * side + x;
    }
  }
  const order = new Uint32Array(frames * rows * cols);
  for (let t = 0, at = 0; t < frames; t++) {
    const shift = visit[(t * 37) % area], dy = Math.floor(shift / side), dx = shift % side;
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < cols; x++) order[at++] = rank[((y + dy) % side) * side + ((x + dx) % side)];
    }
  }
  return order;
}

// Share a total over frames as equally as their room allows; the odd ones go to evenly spaced frames.
function spread(total, room) {
  const share = room.map(() => 0);
  while (total > 0) {
    let open = [...room.keys()].filter((t) => share[t] < room[t]);
    let each = Math.floor(total / open.length);
    if (each === 0) {
      open = evenly(total, open.length).map((i) => open[i]);
      each = 1;
    }
    for (const t of open) {
      const given = Math.min(each, room[t] - share[t]);
      share[t] += given;
      total -= given;
    }
  }
  return share;
}

// Share a total over chunks in proportion to their size: largest remainder, never above their room.
function apportion(total, sizes, room) {
  const share = sizes.map(() => 0);
  while (total > 0) {
    const open = [...sizes.keys()].filter((c) => share[c] < room[c]);
    const weight = sum(open.map((c) => sizes[c]));
    const part = open.map((c) => Math.floor((total * sizes[c]) / weight));
    const left = total - sum(part);
    const byRemainder = [...open.keys()].sort(
      (a, b) => ((total * sizes[open[b]]) % weight) - ((total * sizes[open[a]]) % weight) || a - b);
    byRemainder.slice(0, left).forEach((i) => part[i]++);
    let given = 0;
    open.forEach((c, i) => {
      const more = Math.min(part[i], room[c] - share[c]);
      share[c] += more;
      given += more;
    });
    total -= given;
  }
  return share;
}

// Every unit of a clip, free or taken, and the moves that all policies are made of.
class Board {
  constructor(clip) {
    this.frames = clip.frames;
    this.units = clip.rows * clip.cols;
    this.content = clip.content;
    this.perFrame = sum([...clip.content]);
    this.order = clip.order ??= coverageOrder(clip.frames, clip.rows, clip.cols);
    this.kind = new Uint8Array(this.frames * this.units).fill(NOT_CHOSEN);
    this.room = new Array(this.frames).fill(this.perFrame);
    this.chosen = 0;
  }
  isFree(at) {
    return this.content[at % this.units] === 1 && this.kind[at] === NOT_CHOSEN;
  }
  take(at, kind) {
    this.kind[at] = kind;
    this.room[Math.floor(at / this.units)]--;
    this.chosen++;
  }
  taken(t) {
    return this.perFrame - this.room[t];
  }
  takeFirst(t, count, key, kindOf) {
    if (count <= 0) return;
    const free = [];
    for (let at = t * this.units; at < (t + 1) * this.units; at++) if (this.isFree(at)) free.push(at);
    free.sort((a, b) => key(a) - key(b) || a - b);
    free.slice(0, count).forEach((at) => this.take(at, kindOf(at)));
  }
  cover(counts, kind = FILL) {
    counts.forEach((count, t) => this.takeFirst(t, count, (at) => this.order[at], () => kind));
  }
  topOfFrames(value, counts) {
    const key = (at) => (value[at] > 0 ? -value[at] : 1 + this.order[at]);
    counts.forEach((count, t) => this.takeFirst(t, count, key, (at) => (value[at] > 0 ? CODEC : FILL)));
  }
  // Up to `count` free units with a value in frames [begin, end): by value, ties by (t, h, w). Returns how many.
  top(value, count, begin = 0, end = this.frames) {
    const found = [];
    for (let at = begin * this.units; at < end * this.units; at++) if (value[at] > 0 && this.isFree(at)) found.push(at);
    count = Math.min(count, found.length);
    if (count <= 0) return 0;
    const threshold = Uint32Array.from(found, (at) => value[at]).sort()[found.length - count];
    let tied = count - found.filter((at) => value[at] > threshold).length;
    for (const at of found) {
      if (value[at] > threshold || (value[at] === threshold && tied-- > 0)) this.take(at, CODEC);
    }
    return count;
  }
  fill(count, begin = 0, end = this.frames) {
    if (count <= 0) return;
    const counts = new Array(this.frames).fill(0);
    spread(count, this.room.slice(begin, end)).forEach((n, i) => (counts[begin + i] = n));
    this.cover(counts);
  }
}

// Which frames are read for their own sake, and how many units of each: [[frame, units], ...].
function planAnchors(budget, perFrame, starts, config) {
  const [part, whole] = config.anchor_share;
  const spend = Math.floor((part * budget) / whole);
  const wanted = config.anchors ?? Math.ceil(starts.length / FRAMES_PER_ANCHOR);
  if (wanted === 0 || spend === 0) return [];
  let frames = wantedAnchors(starts, Math.min(wanted, starts.length));
  const affordable = Math.max(1, Math.floor(spend / Math.min(LEAST, perFrame)));
  if (frames.length > affordable) frames = endToEnd(affordable, frames.length).map((i) => frames[i]);
  return frames.map((t, i) => [t, anchorUnits(i, frames.length, spend, perFrame)]);
}

function wantedAnchors(starts, count) {
  const chosen = [...new Set([0, ...[...starts.keys()].filter((t) => starts[t])])].sort((a, b) => a - b);
  const gaps = chosen.map((begin, i) => [begin, chosen[i + 1] ?? starts.length]);
  while (chosen.length < count) {
    gaps.sort((a, b) => a[0] - a[1] - (b[0] - b[1]) || a[0] - b[0]);
    const [begin, end] = gaps.shift();
    const middle = Math.floor((begin + end) / 2);
    gaps.push([begin, middle], [middle, end]);
    chosen.push(middle);
  }
  return chosen.sort((a, b) => a - b);
}

function anchorUnits(place, count, spend, perFrame) {
  const quarter = Math.ceil(perFrame / COARSE);
  const room = Math.floor(Math.max(0, spend - count * quarter) / Math.max(1, perFrame - quarter));
  const whole = Math.min(count, room);
  if (place < whole) return perFrame;
  const rest = Math.min(spend - whole * perFrame, (count - whole) * perFrame);
  return Math.floor(rest / (count - whole)) + (place - whole < rest % (count - whole) ? 1 : 0);
}

function chooseCodec(board, budget, signals, score, config) {
  const { value, ranked, starts } = signals.scores[score], T = board.frames;
  const anchors = planAnchors(budget, board.perFrame, starts, config);
  const held = new Array(T).fill(0);
  anchors.forEach(([t, units]) => (held[t] = units));
  board.cover(held, ANCHOR);
  const rest = budget - sum(held), most = Math.floor(rest / T), even = Math.floor(budget / T);
  const least = Math.min(config.min_per_frame, most);
  const missing = held.map((_, t) =>
    Math.min(Math.max((ranked[t] ? least : even) - board.taken(t), 0), most, board.room[t]));
  board.cover(missing.map((n, t) => (ranked[t] ? 0 : n)));
  board.topOfFrames(value, missing.map((n, t) => (ranked[t] ? n : 0)));
  if (config.scope === "chunk") {
    shareByChunk(board, value, rest, held, config.chunk_frames);
  } else {
    const left = budget - board.chosen;
    board.fill(left - board.top(value, left));
  }
}

function shareByChunk(board, value, rest, held, size) {
  const begins = [];
  for (let t = 0; t < board.frames; t += size) begins.push(t);
  const ends = begins.map((begin) => Math.min(begin + size, board.frames));
  const over = (begin, end, of) => sum(Array.from({ length: end - begin }, (_, i) => of(begin + i)));
  const taken = begins.map((begin, c) => over(begin, ends[c], (t) => board.taken(t) - held[t]));
  const room = begins.map((begin, c) => over(begin, ends[c], (t) => board.room[t]));
  const quota = apportion(rest, begins.map((begin, c) => ends[c] - begin), taken.map((n, c) => n + room[c]));
  begins.forEach((begin, c) => {
    const left = quota[c] - taken[c];
    board.fill(left - board.top(value, left, begin, ends[c]), begin, ends[c]);
  });
}

function chooseUniform(board, budget) {
  const whole = Math.floor(budget / board.perFrame), rest = budget % board.perFrame;
  const frames = endToEnd(whole + (rest > 0 ? 1 : 0), board.frames);
  const counts = new Array(board.frames).fill(0);
  frames.forEach((t) => (counts[t] = board.perFrame));
  if (rest) counts[frames[frames.length - 1]] = rest;
  board.cover(counts);
}

// Kind of every unit [T * U], NOT_CHOSEN elsewhere. `budget` is in patches, a multiple of merge^2.
function chooseUnits(clip, { policy, budget, score, scope, provider }) {
  const board = new Board(clip), units = budget / clip.merge ** 2;
  const config = { ...clip.config, scope };
  if (policy === "uniform") chooseUniform(board, units);
  else if (policy === "random") clip.random.subarray(0, units).forEach((at) => board.take(at, FILL));
  else chooseCodec(board, units, clip.providers[provider], score, config);
  return board.kind;
}
