// From the JSON in the page to typed arrays and decoded pictures.
"use strict";

function bytesOf(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}
const wordsOf = (text) => new Uint32Array(bytesOf(text).buffer);
const shortsOf = (text) => new Int16Array(bytesOf(text).buffer);
const floatsOf = (text) => new Float32Array(bytesOf(text).buffer);
const mapValues = (object, change) => Object.fromEntries(Object.entries(object).map(([k, v]) => [k, change(v)]));

function decodeSignals(stored) {
  return {
    cuts: stored.cuts,
    scores: mapValues(stored.scores, (s) => ({ ...s, value: wordsOf(s.value) })),
    heat: mapValues(stored.heat, (h) => ({ ...h, level: bytesOf(h.level) })),
    motion: { ...stored.motion, vectors: shortsOf(stored.motion.vectors) },
    energy: mapValues(stored.energy, floatsOf),
  };
}

async function decodePicture(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return picture;
}

// One clip, ready to draw and to select from. Each clip of a gallery is decoded when it is first looked at.
async function decodeClip(id) {
  const stored = JSON.parse(document.getElementById(id).textContent);
  const pictures = await Promise.all(stored.pictures.map(decodePicture));
  return {
    ...stored,
    pictures,
    content: bytesOf(stored.content),
    random: wordsOf(stored.random),
    providers: mapValues(stored.providers, decodeSignals),
    faded: new Map(),
  };
}
