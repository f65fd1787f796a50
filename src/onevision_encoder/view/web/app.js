// The controls: one state, one function that draws it. `window.ove` shows the state to whoever wants to look.
"use strict";

const $ = (id) => document.getElementById(id);
const clips = new Map(); // id -> decoded clip
const state = { clip: null, id: "", t: 0, playing: false, policy: "codec", budget: 0, score: "", provider: "", shown: "", arrows: false };
let colors = null, chosen = null, uniform = null, timer = 0;

const number = (n) => Math.round(n).toLocaleString("en-US");
const percent = (share) => `${(100 * share).toPrecision(3)} %`;
const seconds = (s) => `${s.toFixed(2)} s`;
const unit = () => state.clip.merge ** 2;
const total = () => state.clip.frames * state.clip.perFrame * unit();

// ---- the selection -------------------------------------------------------------------------------------------------
function ask(policy) {
  const { budget, score, provider } = state;
  const scope = policy === "chunk" ? "chunk" : "global";
  return chooseUnits(state.clip, { policy: policy === "chunk" ? "codec" : policy, budget, score, provider, scope });
}

function reselect() {
  chosen = ask(state.policy);
  uniform = state.policy === "uniform" ? chosen : ask("uniform");
  const counts = countKinds(state.clip, chosen);
  drawChart($("chart"), state.clip, counts);
  $("tallest").textContent = `up to ${number(Math.max(...counts.map(sum)) * unit())} of ${number(state.clip.perFrame * unit())}`;
  showShare();
  showCover();
  showCommand();
  draw();
}

function covered(kind, energy) {
  let all = 0, held = 0;
  energy.forEach((value, at) => {
    all += value;
    if (kind[at] !== NOT_CHOSEN) held += value;
  });
  return all > 0 ? held / all : null;
}

// ---- drawing -------------------------------------------------------------------------------------------------------
function draw() {
  const { clip, t, shown } = state, signals = clip.providers[state.provider];
  drawFrame($("original"), clip, t);
  $("note-original").textContent = `frame ${clip.frameIndex[t]}`;
  const held = drawUniform($("uniform"), clip, t, uniform, colors);
  const age = clip.pts[t] - clip.pts[held.from];
  $("note-uniform").textContent = (held.from === t ? "read now" : `held since ${seconds(age)} ago`) + (held.coarse ? ", coarse" : "");
  const heat = shown === "saliency" ? saliencyHeat(clip, signals.scores[state.score]) : signals.heat[shown];
  drawHeat($("heat"), clip, t, heat);
  if (state.arrows) drawVectors($("heat"), clip, t, signals);
  const alone = clip.frames === 1 ? (clip.image ? "a still image" : "one frame") : "a scene starts";
  $("note-heat").textContent = signals.cuts[t] ? `${alone}: nothing to predict from` : `${shown === "saliency" ? `by ${state.score}` : shown}, up to ${heat.top} ${heat.unit}`.trim();
  drawChosen($("chosen"), clip, t, chosen, colors);
  const counts = countKinds(clip, chosen)[t], here = sum(counts) * unit();
  $("chosen").classList.toggle("anchor", counts[ANCHOR] > 0);
  $("note-chosen").textContent = `${number(here)} of ${number(clip.perFrame * unit())}${counts[ANCHOR] ? `: ${kindWords(counts)}` : ""}`;
  $("clock").textContent = `${t + 1} / ${clip.frames} · ${seconds(clip.pts[t])}`;
  $("scrub").value = t;
  $("scrub").setAttribute("aria-valuetext", `frame ${t + 1} of ${clip.frames}, ${seconds(clip.pts[t])}`);
  moveChartTo($("chart"), clip, t);
  label("original", `Frame ${t + 1} of ${clip.frames} as it is`);
  label("uniform", `What uniform sampling holds at this time: frame ${held.from + 1}`);
  label("heat", `${shown} of frame ${t + 1}`);
  label("chosen", `Frame ${t + 1}: ${here} patches chosen`);
}
const kindWords = (counts) => counts.flatMap((n, k) => (n ? [`${number(n * unit())} ${KIND_WORDS[k]}`] : [])).join(", ");
const label = (id, text) => $(id).setAttribute("aria-label", text);

function showShare() {
  const { clip, budget } = state;
  $("share").textContent = `${number(budget)} of ${number(total())} patches (${percent(budget / total())})`;
  $("exact").value = budget;
  $("budget").value = 1000 * Math.log(budget / least()) / Math.max(Math.log(total() / least()), 1e-9);
  $("budget").setAttribute("aria-valuetext", `${budget} of ${total()} patches`);
  if (!state.playing) $("status").textContent = `${number(budget)} patches of ${clip.name} chosen by ${$("policy").selectedOptions[0].text}.`;
  label("chart", `Patches per frame: ${countKinds(clip, chosen).map((k) => sum(k) * unit()).join(", ")}`);
}

function showCover() {
  const { energy } = state.clip.providers[state.provider], body = $("cover").tBodies[0];
  const frames = (kind) => countKinds(state.clip, kind).filter((k) => sum(k) > 0).length;
  const say = (share) => (share === null ? "none in the clip" : percent(share));
  const rows = [
    ["patches kept", percent(state.budget / total()), percent(state.budget / total())],
    ["frames seen", frames(chosen), frames(uniform)],
    ...Object.entries(energy).map(([name, e]) => [`${name} energy covered`, say(covered(chosen, e)), say(covered(uniform, e))]),
  ];
  body.replaceChildren(...rows.map((cells) => tableRow(cells)));
}

function tableRow([head, ...cells]) {
  const row = document.createElement("tr"), th = document.createElement("th");
  th.scope = "row";
  th.textContent = head;
  row.append(th, ...cells.map((cell) => Object.assign(document.createElement("td"), { textContent: cell })));
  return row;
}

function showCommand() {
  $("command-section").hidden = state.clip.command === null; // frames in memory have no file to name
  if (state.clip.command === null) return;
  const { clip, policy, budget, score, provider } = state, words = [...clip.command, ...clip.policyFlags[policy], "--budget", budget];
  const asked = policy === "chunk" ? "codec" : policy;
  if (asked !== "codec") words.push("--policy", asked);
  if (asked === "codec") words.push("--score", score, "--provider", provider, "--scope", policy === "chunk" ? "chunk" : "global");
  $("command").textContent = words.join(" ");
}

// ---- state changes -------------------------------------------------------------------------------------------------
const least = () => Math.min(total(), Math.max(unit(), Math.ceil(32 / unit()) * unit()));
const clamp = (n, low, high) => Math.min(high, Math.max(low, n));

function setBudget(patches) {
  if (!Number.isFinite(patches)) return showShare();
  const whole = clamp(Math.round(patches / unit()) * unit(), least(), total());
  if (whole !== state.budget) {
    state.budget = whole;
    reselect();
  } else showShare();
}

function seek(t) {
  state.t = clamp(Math.round(t), 0, state.clip.frames - 1);
  draw();
}

function play(on) {
  state.playing = on && state.clip.frames > 1;
  $("play").textContent = state.playing ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", state.playing);
  cancelAnimationFrame(timer);
  if (!state.playing) return;
  const { pts, frames } = state.clip, pause = (pts[frames - 1] - pts[0]) / Math.max(frames - 1, 1);
  if (state.t === frames - 1) seek(0);
  const began = performance.now() / 1000 - pts[state.t];
  const tick = () => {
    const now = performance.now() / 1000 - began;
    let t = state.t;
    while (t + 1 < frames && pts[t + 1] <= now) t++;
    if (t !== state.t) seek(t);
    if (now > pts[frames - 1] + pause) {
      seek(0);
      return play(true);
    }
    timer = requestAnimationFrame(tick);
  };
  timer = requestAnimationFrame(tick);
}

function fillSelect(id, names, value) {
  $(id).replaceChildren(...names.map((name) => new Option(name, name, false, name === value)));
  $(id).value = value;
}

function fillSignals() {
  const signals = state.clip.providers[state.provider], scores = Object.keys(signals.scores), maps = ["saliency", ...Object.keys(signals.heat)];
  if (!scores.includes(state.score)) state.score = scores[0];
  if (!maps.includes(state.shown)) state.shown = maps[0];
  fillSelect("score", scores, state.score);
  fillSelect("shown", maps, state.shown);
  const ranks = state.policy === "codec" || state.policy === "chunk";
  $("score").disabled = !ranks;
  $("arrows").disabled = state.clip.frames === 1;
}

async function open(id) {
  play(false);
  $("viewer").setAttribute("aria-busy", "true");
  if (!clips.has(id)) clips.set(id, await decodeClip(id));
  const clip = clips.get(id);
  Object.assign(state, { clip, id, t: 0, ...clip.start, shown: "saliency" });
  $("title").textContent = clip.name;
  $("facts").textContent = clip.about;
  const refused = Object.values(clip.refused);
  $("refused").hidden = refused.length === 0;
  $("refused").textContent = `Asked for and not in this page: ${refused.join("; ")}.`;
  for (const name of ["original", "uniform", "heat", "chosen"]) {
    const scale = Math.max(1, Math.ceil(448 / Math.max(clip.width, clip.height)));
    $(name).width = clip.width * scale;
    $(name).height = clip.height * scale;
  }
  Object.assign($("scrub"), { max: clip.frames - 1, disabled: clip.frames === 1 });
  $("play").disabled = clip.frames === 1;
  Object.assign($("exact"), { min: least(), max: total(), step: unit() });
  $("policy").value = state.policy;
  fillSelect("provider", Object.keys(clip.providers), state.provider);
  fillSignals();
  $("provenance").tBodies[0].replaceChildren(...clip.provenance.map(tableRow));
  document.querySelectorAll("#gallery button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.id === id));
  reselect();
  $("viewer").setAttribute("aria-busy", "false");
}

// ---- wiring --------------------------------------------------------------------------------------------------------
function wire() {
  $("play").onclick = () => play(!state.playing);
  $("scrub").oninput = (event) => { play(false); seek(Number(event.target.value)); };
  $("budget").oninput = (event) => setBudget(least() * (total() / least()) ** (event.target.value / 1000));
  $("exact").onchange = (event) => setBudget(Number(event.target.value));
  $("policy").onchange = (event) => { state.policy = event.target.value; fillSignals(); reselect(); };
  $("score").onchange = (event) => { state.score = event.target.value; reselect(); };
  $("provider").onchange = (event) => { state.provider = event.target.value; fillSignals(); reselect(); };
  $("shown").onchange = (event) => { state.shown = event.target.value; draw(); };
  $("arrows").onchange = (event) => { state.arrows = event.target.checked; draw(); };
  $("chart").onclick = (event) => {
    const box = $("chart").getBoundingClientRect();
    play(false);
    seek(Math.floor(((event.clientX - box.left) / box.width) * state.clip.frames));
  };
  $("copy").onclick = async () => {
    getSelection().selectAllChildren($("command"));
    const done = await navigator.clipboard?.writeText($("command").textContent).then(() => true, () => false);
    $("copy").textContent = done ? "Copied" : "Selected";
    setTimeout(() => ($("copy").textContent = "Copy"), 1500);
  };
  document.querySelectorAll("figure").forEach((f) => (f.querySelector("canvas").onclick = () => f.classList.toggle("large")));
  document.onkeydown = onKey;
  matchMedia("(prefers-color-scheme: dark)").onchange = () => { colors = theme(); draw(); };
}

function onKey(event) {
  const busy = event.target.closest("input[type=range], input[type=number], select, summary");
  if (busy || event.ctrlKey || event.metaKey || event.altKey || !state.clip) return;
  const jump = { ArrowLeft: state.t - 1, ArrowRight: state.t + 1, Home: 0, End: state.clip.frames - 1 }[event.key];
  if (event.key === " " && !event.target.closest("button, input")) play(!state.playing);
  else if (jump !== undefined) { play(false); seek(jump); }
  else return;
  event.preventDefault();
}

function buildGallery(entries) {
  if (entries.length < 2) return;
  $("gallery").hidden = false;
  for (const entry of entries) {
    const tile = document.createElement(entry.error ? "div" : "button");
    const name = Object.assign(document.createElement("span"), { textContent: entry.error ? `${entry.name}: ${entry.error}` : entry.name });
    tile.className = entry.error ? "failed" : "";
    if (!entry.error) {
      Object.assign(tile, { type: "button", title: entry.name, onclick: () => open(entry.id) });
      tile.dataset.id = entry.id;
      tile.append(Object.assign(new Image(), { src: entry.thumbnail, alt: "" }));
    }
    tile.append(name);
    $("gallery").append(tile);
  }
}

window.ove = { state, open, chosenUnits: () => chosen, uniformUnits: () => uniform };
colors = theme();
wire();
const entries = JSON.parse($("entries").textContent);
buildGallery(entries);
window.ove.ready = open(entries.find((entry) => !entry.error).id);
