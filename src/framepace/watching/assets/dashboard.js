// Shows the run: asks once per second, changes what has changed, and fetches pictures only of cameras that are looked at.
"use strict";
(() => {
  const PERIOD = 1000; // ms
  const PATIENCE = 5000; // ms, for an answer
  const KEPT = 120; // ages of a source in its curve
  const MOST_PICTURES = 24; // that one press of the button opens
  const FEW_PICTURES = 6; // that are shown large
  const FEW = 12; // sources that are shown as given
  const RANK = { bad: 0, warn: 1, "": 2 };
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);
  const make = (name, style, text) => {
    const made = document.createElement(name);
    if (style) made.className = style;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const draw = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  let token = sessionStorage.getItem("token") || "";
  let latest = null;
  let answered = Date.now();
  let orderChosen = false;
  const rows = new Map(); // by source
  const figures = new Map(); // by source, of those whose picture is shown

  const ask = async (path) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(path, { headers, signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status === 401) throw new Error("token");
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    return answer.json();
  };

  // --- the table of sources ---

  const makeRow = (name) => {
    const body = make("tbody");
    const first = body.insertRow();
    const cells = ["", "", "wide-only", "", "wide-only", "", "curve wide-only", "wide-only", ""].map((style) => {
      const cell = first.insertCell();
      cell.className = style;
      return cell;
    });
    const button = make("button", "open", name);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.title = "show its picture";
    button.addEventListener("click", () => toggle(name));
    cells[0].append(button);
    const state = cells[1].appendChild(make("span"));
    const spark = draw("svg", { class: "spark", viewBox: "0 0 120 20", preserveAspectRatio: "none", role: "img" });
    const target = spark.appendChild(draw("line", { x1: 0, x2: 120, y1: 0, y2: 0 }));
    const curve = spark.appendChild(draw("polyline", { points: "" }));
    cells[6].append(spark);
    const second = body.insertRow();
    const detail = second.insertCell();
    detail.className = "detail";
    detail.colSpan = 9;
    return { body, cells, button, state, spark, target, curve, second, detail, ages: [], source: null };
  };

  const fillRow = (row, source, limit) => {
    row.source = source;
    row.body.dataset.trouble = source.trouble;
    row.body.className = source.detail ? "split" : "";
    const [, state, fpsIn, fpsOut, age, p99, late, dropped] = source.texts;
    put(row.state, state);
    row.state.className = `state ${state}`;
    [[2, fpsIn], [3, fpsOut], [4, age], [5, p99], [7, late], [8, dropped]].forEach(([i, text]) => put(row.cells[i], text));
    put(row.detail, source.detail);
    row.second.hidden = !source.detail;
    row.ages.push(source.age_ms);
    if (row.ages.length > KEPT) row.ages.shift();
    fillCurve(row, limit);
  };

  const fillCurve = (row, limit) => {
    const seen = row.ages.filter((age) => age !== null);
    const top = Math.max(1, limit || 0, ...seen) * 1.05;
    const y = (age) => (20 - (20 * age) / top).toFixed(2);
    const start = KEPT - row.ages.length;
    const points = row.ages.flatMap((age, i) => (age === null ? [] : [`${start + i},${y(age)}`]));
    row.curve.setAttribute("points", points.join(" "));
    row.target.toggleAttribute("hidden", !limit);
    if (limit) ["y1", "y2"].forEach((end) => row.target.setAttribute(end, y(limit)));
    row.spark.setAttribute("aria-label", seen.length ? `age, at most ${Math.round(Math.max(...seen))} ms` : "no age");
  };

  const ORDERS = {
    given: () => 0,
    worst: (a, b) => RANK[a.trouble] - RANK[b.trouble] || b.lost - a.lost,
    name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
    p99: (a, b) => (b.p99_ms ?? -1) - (a.p99_ms ?? -1),
    lost: (a, b) => b.lost - a.lost,
  };

  const fillSources = () => {
    const { sources, target_ms: limit } = latest;
    if (!orderChosen) $("order").value = sources.length > FEW ? "worst" : "given";
    const names = new Set(sources.map((source) => source.name));
    for (const [name, row] of rows) {
      if (!names.has(name)) {
        row.body.remove();
        rows.delete(name);
        close(name);
      }
    }
    for (const source of sources) {
      if (!rows.has(source.name)) rows.set(source.name, makeRow(source.name));
      fillRow(rows.get(source.name), source, limit);
    }
    arrange();
  };

  // Rows move only where their order has changed, so that what has the focus keeps it.
  const arrange = () => {
    if (!latest) return;
    const wanted = $("find").value.trim().toLowerCase();
    const onlyTrouble = $("trouble").checked;
    const fits = (s) => (!wanted || `${s.name} ${s.address}`.toLowerCase().includes(wanted)) && (!onlyTrouble || s.trouble);
    const table = document.querySelector("#sources table");
    let before = table.tHead;
    let shown = 0;
    for (const source of [...latest.sources].sort(ORDERS[$("order").value])) {
      const { body } = rows.get(source.name);
      body.hidden = !fits(source);
      shown += !body.hidden;
      if (before.nextSibling !== body) before.after(body);
      before = body;
    }
    $("none").hidden = shown > 0 || latest.sources.length === 0;
  };

  // --- pictures ---

  const inSight = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.target.dataset.seen = entry.isIntersecting ? "yes" : "";
    fetchPictures();
  });

  const open = (name) => {
    if (figures.has(name)) return;
    const figure = make("figure");
    figure.dataset.source = name;
    const frame = figure.appendChild(make("div", "frame"));
    const image = frame.appendChild(make("img"));
    image.alt = `newest picture of ${name}`;
    image.hidden = true;
    const marks = frame.appendChild(draw("svg", { "aria-hidden": "true" }));
    const why = frame.appendChild(make("p", "why", "waiting for a picture"));
    const caption = figure.appendChild(make("figcaption"));
    const line = caption.appendChild(make("div", "line"));
    line.append(make("b", "", name));
    const shut = line.appendChild(make("button", "", "×"));
    shut.type = "button";
    shut.setAttribute("aria-label", `close the picture of ${name}`);
    shut.addEventListener("click", () => { close(name); rows.get(name)?.button.focus(); });
    const age = caption.appendChild(make("span", "said"));
    const said = caption.appendChild(make("span", "said"));
    figures.set(name, { figure, image, marks, why, said, age, busy: false });
    document.querySelector(".gallery").append(figure);
    inSight.observe(figure);
    marked(name);
  };

  const close = (name) => {
    const shown = figures.get(name);
    if (!shown) return;
    inSight.unobserve(shown.figure);
    shown.figure.remove();
    figures.delete(name);
    marked(name);
  };

  const toggle = (name) => (figures.has(name) ? close(name) : open(name));

  const marked = (name) => {
    $("pictures").hidden = figures.size === 0;
    document.querySelector(".gallery").classList.toggle("many", figures.size > FEW_PICTURES);
    rows.get(name)?.button.setAttribute("aria-pressed", String(figures.has(name)));
    const any = figures.size > 0;
    $("show").setAttribute("aria-pressed", String(any));
    put($("show"), any ? "Hide pictures" : "Show pictures");
  };

  const showAll = () => {
    if (figures.size) return [...figures.keys()].forEach(close);
    const shown = [...rows.values()].filter((row) => !row.body.hidden).map((row) => row.source);
    shown.sort(ORDERS[$("order").value]).slice(0, MOST_PICTURES).forEach((source) => open(source.name));
  };

  const fetchPictures = () => {
    if (document.hidden) return;
    for (const [name, shown] of figures) if (shown.figure.dataset.seen && !shown.busy) fetchPicture(name, shown);
  };

  const fetchPicture = async (name, shown) => {
    shown.busy = true;
    try {
      fillPicture(name, shown, await ask(`picture?source=${encodeURIComponent(name)}`));
    } catch { /* the next answer about the run says what is wrong */ }
    shown.busy = false;
  };

  const fillPicture = (name, shown, picture) => {
    const there = Boolean(picture.jpeg);
    shown.image.hidden = !there;
    shown.why.hidden = there;
    shown.marks.replaceChildren();
    put(shown.age, there ? `${ago(picture.ago_s)}, answered after ${duration(picture.age_ms)}` : "");
    put(shown.said, there ? [picture.error, ...picture.captions].filter(Boolean).join("; ") : "");
    if (!there) return put(shown.why, whyNone(rows.get(name)?.source));
    shown.image.src = `data:image/jpeg;base64,${picture.jpeg}`;
    shown.marks.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
    // Text is sized in pixels of the screen, whatever the picture has.
    const scale = Math.max(picture.width / shown.image.clientWidth, picture.height / shown.image.clientHeight);
    const taken = [];
    for (const { box, label } of picture.boxes) drawBox(shown.marks, box, label, 12 * scale, taken);
    for (const [cx, cy] of picture.points) shown.marks.append(draw("circle", { cx, cy, r: 2.5 * scale }));
  };

  const whyNone = (source) => (source && source.state !== "live" && source.detail) || "no picture yet";

  const duration = (ms) => (ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

  const ago = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s ago` : `${Math.round(seconds / 60)} min ago`);

  // A label stands above its box, in it or below it, where no other is; one that finds no place is left out.
  const drawBox = (marks, [x, y, width, height], label, size, taken) => {
    for (const style of ["back", ""]) marks.append(draw("rect", { x, y, width, height, class: style }));
    const text = marks.appendChild(draw("text", { x: Math.max(x, 0.2 * size), "font-size": size }));
    text.textContent = label;
    for (const at of [y - 0.35 * size, y + 1.1 * size, y + height + 1.1 * size]) {
      text.setAttribute("y", at);
      const place = text.getBBox();
      if (place.y >= 0 && !taken.some((other) => overlap(place, other))) return taken.push(place);
    }
    text.remove();
  };

  const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

  // --- the rest of the page ---

  const fillList = (id, texts) => {
    $(id).hidden = texts.length === 0;
    if (JSON.stringify(texts) === $(id).dataset.texts) return;
    $(id).dataset.texts = JSON.stringify(texts);
    $(id).replaceChildren(...texts.map((text) => make("li", "", text)));
  };

  const fillTotals = (totals) => {
    if ($("totals").children.length !== totals.length) {
      $("totals").replaceChildren(...totals.map(() => { const tile = make("div"); tile.append(make("dt"), make("dd")); return tile; }));
    }
    totals.forEach(([name, text], i) => {
      put($("totals").children[i].firstChild, name);
      put($("totals").children[i].lastChild, text);
    });
  };

  const fillTable = (id, items) => {
    $(id).hidden = items.length === 0;
    const lines = items.flatMap((item) => {
      const row = make("tr", item.detail ? "wrong" : "");
      row.append(...item.texts.map((text) => make("td", "", text)));
      if (!item.detail) return [row];
      const below = make("tr", "wrong");
      const cell = below.appendChild(make("td", "detail", item.detail));
      cell.colSpan = item.texts.length;
      return [row, below];
    });
    document.querySelector(`#${id} tbody`).replaceChildren(...lines);
  };

  const fill = (view) => {
    const before = latest;
    latest = view;
    $("access").hidden = true;
    $("content").hidden = false;
    put($("models"), view.title);
    put($("duration"), `running for ${view.duration}`);
    const sentence = view.sentence.charAt(0).toUpperCase() + view.sentence.slice(1);
    put($("sentence"), sentence);
    $("sentence").dataset.trouble = view.sources.length ? view.trouble : "none";
    if (before && before.sentence !== view.sentence) put($("announcer"), sentence);
    document.title = `${sentence} - framepace`;
    fillList("measures", view.degraded.map((measure) => `Degraded: ${measure}`));
    fillTotals(view.totals);
    fillSources();
    fillTable("engines", view.engines);
    fillTable("devices", view.devices);
    fillTable("sinks", view.sinks);
    fillList("notes", view.notes);
  };

  const silent = (why) => {
    document.body.dataset.silent = "yes";
    $("silence").hidden = false;
    put($("silence"), `No answer since ${new Date(answered).toLocaleTimeString()} (${why}): the run may have ended. Trying again.`);
    document.title = "No answer - framepace";
  };

  const heard = () => {
    answered = Date.now();
    delete document.body.dataset.silent;
    $("silence").hidden = true;
  };

  const askForToken = () => {
    $("access").hidden = false;
    $("content").hidden = true;
    $("refused").hidden = !token;
    put($("sentence"), "A token is needed");
    $("sentence").dataset.trouble = "none";
    sessionStorage.removeItem("token");
    token = "";
    $("token").focus();
  };

  const look = async () => {
    let again = true;
    if (!document.hidden) {
      try {
        const view = await ask("view");
        heard();
        fill(view);
        fetchPictures();
      } catch (error) {
        again = error.message !== "token";
        if (again) silent(error.message);
        else askForToken();
      }
      const { dataset } = document.documentElement;
      dataset.drawn = String(Number(dataset.drawn || 0) + 1);
    }
    if (again) setTimeout(look, PERIOD);
  };

  $("access").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value;
    sessionStorage.setItem("token", token);
    $("token").value = "";
    look();
  });
  $("order").addEventListener("change", () => { orderChosen = true; arrange(); });
  $("find").addEventListener("input", arrange);
  $("trouble").addEventListener("change", arrange);
  $("show").addEventListener("click", showAll);
  look();
})();
