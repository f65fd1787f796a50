"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const whole = (number) => number.toLocaleString("en");
  const make = (tag, text = "", name = "") => {
    const element = document.createElement(tag);
    if (text !== "") element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const percent = (share) => `${(100 * share).toPrecision(3)} %`;

  const even = data.balance;
  at("title").textContent = data.title;
  at("facts").textContent =
    `${whole(data.rows)} rows of width ${data.width} in ${whole(even.clusters)} clusters: ` +
    `${whole(even.smallest)} to ${whole(even.largest)} rows, median ${whole(even.median)}, ${whole(even.empty)} empty, ` +
    `Gini ${even.gini.toFixed(3)}, effective clusters ${percent(even.effective_share)}.`;

  const bars = (id, items) => {
    const top = Math.max(...items.map((item) => item.value), 1e-30);
    for (const { value, title, name } of items) {
      const bar = make("i", "", value ? name || "" : "none");
      bar.style.height = `${(100 * value) / top}%`;
      bar.title = title;
      at(id).append(bar);
    }
  };
  bars("sizes", data.histogram.map((bar) => ({
    value: bar.clusters,
    name: bar.to ? "" : "empty",
    title: `${whole(bar.clusters)} clusters of ${bar.from === bar.to ? whole(bar.from) : `${whole(bar.from)} to ${whole(bar.to)}`} rows`,
  })));
  at("sizes").setAttribute("aria-label", "Histogram of the sizes");
  at("note-sizes").textContent = `0 to ${whole(even.largest)} rows, logarithmic; the first bar is empty clusters`;
  bars("inertia", data.history.map((row, i) => ({
    value: row.inertia,
    title: `${row.stage ? `${row.stage}, ` : ""}update ${i + 1}: ${row.inertia.toPrecision(6)}, ${row.empty} empty, ${row.repaired} moved`,
  })));
  at("inertia").setAttribute("aria-label", "Inertia before each update");
  if (data.history.length) {
    const first = data.history[0].inertia, last = data.history[data.history.length - 1].inertia;
    at("note-inertia").textContent = `${first.toPrecision(5)} before the first, ${last.toPrecision(5)} before the last`;
  }

  const card = ([id, score, place]) => {
    const made = make("div", "", "card");
    made.title = id;
    if (place >= 0) {
      const picture = make("img");
      picture.src = data.pictures[place];
      picture.alt = id;
      picture.loading = "lazy";
      made.append(picture, make("span", id.split("/").pop(), "name"));
    } else {
      made.append(make("span", id, "blank"));
    }
    made.append(make("span", score.toFixed(3), "score"));
    return made;
  };
  const section = (cluster) => {
    const made = make("article", "", "cluster");
    made.id = `cluster-${cluster.id}`;
    const head = make("h2", `Cluster ${cluster.id}`);
    head.append(make("span", `${whole(cluster.size)} ${cluster.size === 1 ? "row" : "rows"}, mean ${data.metric} ${cluster.score.toFixed(3)}`));
    const cards = make("div", "", "cards");
    cards.append(...cluster.near.map(card));
    if (cluster.far.length) {
      const edge = make("div", "", "edge");
      edge.title = "furthest from the centre";
      edge.append(...cluster.far.map(card));
      cards.append(edge);
    }
    made.append(head, cards);
    return made;
  };
  const orders = {
    largest: (a, b) => b.size - a.size || a.id - b.id,
    smallest: (a, b) => a.size - b.size || a.id - b.id,
    tightest: (a, b) => b.score - a.score || a.id - b.id,
    loosest: (a, b) => a.score - b.score || a.id - b.id,
    id: (a, b) => a.id - b.id,
  };
  const sections = new Map(data.clusters.map((cluster) => [cluster.id, section(cluster)]));
  const show = () => {
    const words = at("find").value.trim().toLowerCase();
    const fits = (cluster) => !words || String(cluster.id) === words ||
      [...cluster.near, ...cluster.far].some(([id]) => id.toLowerCase().includes(words));
    const shown = data.clusters.filter(fits).sort(orders[at("order").value]);
    at("clusters").replaceChildren(...shown.map((cluster) => sections.get(cluster.id)));
    at("count").textContent = `${whole(shown.length)} shown of ${whole(even.clusters)}, evenly spread over the sizes; ` +
      "orange line: the furthest from the centre";
  };
  at("order").addEventListener("change", show);
  at("find").addEventListener("input", show);
  show();

  const table = (element, rows) => {
    for (const [name, value] of rows) {
      const row = make("tr");
      row.append(make("th", name), make("td", value));
      element.append(row);
    }
  };
  table(at("provenance"), data.facts);
  if (data.failures.length) {
    at("failed").hidden = false;
    at("failed").open = true;
    at("failed").querySelector("summary").textContent = `No picture of ${whole(data.failures.length)}`;
    table(at("failed").querySelector("table"), data.failures);
  }
})();
