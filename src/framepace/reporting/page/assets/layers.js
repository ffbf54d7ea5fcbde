// The table and the graphs of the page of layers. Names from outside only ever become text nodes.
"use strict";
(() => {
  const [data] = JSON.parse(document.getElementById("layers-data").textContent);
  const table = document.querySelector("#layers .table");
  const counted = document.getElementById("counted");
  const search = document.getElementById("search");
  const facets = [...document.querySelectorAll("[data-facet]")];
  const order = { column: data.columns.includes("time") ? data.columns.indexOf("time") : data.columns.indexOf("A"), down: true };
  const TAIL = 18;  // characters at the end of a name that are always shown
  const lines = [];  // the table's rows with what they show
  const panes = [...document.querySelectorAll(".pane")];
  const boxes = [[], []];

  const element = (name, parent, text = "", style = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    if (style) made.className = style;
    parent.append(made);
    return made;
  };
  const drawn = (name, parent, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  };
  const name = (cell, text) => {  // too long a name loses its middle: its block is at the beginning, its operator at the end
    const whole = element("div", cell, "", "name");
    element("span", whole, text.slice(0, -TAIL), "head");
    element("span", whole, text.slice(-TAIL), "tail");
  };
  const isNumber = (column) => data.rows.some((row) => typeof row.keys[column] === "number");
  const numbers = data.columns.map((_, column) => isNumber(column));

  const compare = (a, b) => {
    const [x, y] = [a.row.keys[order.column], b.row.keys[order.column]];
    if (x === null || y === null) return (x === null) - (y === null);  // what nobody says comes last
    const way = order.down ? -1 : 1;
    return way * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  };
  const matches = (row) => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = [...row.texts, row.more].join(" ").toLowerCase();
    return words.every((word) => text.includes(word))
      && facets.every((facet) => !facet.value || row.texts[facet.dataset.facet] === facet.value.slice(1));
  };

  const largestShare = Math.max(...data.rows.map((row) => row.keys[data.share] || 0), 1e-9);

  const body = (() => {
    const made = element("table", table);
    const head = element("tr", element("thead", made));
    data.columns.forEach((name, column) => {
      const cell = element("th", head, "", numbers[column] ? "" : "words");
      cell.scope = "col";
      const button = element("button", cell, name);
      button.type = "button";
      button.addEventListener("click", () => {
        order.down = order.column === column ? !order.down : numbers[column];
        order.column = column;
        show();
      });
    });
    return element("tbody", made);
  })();

  data.rows.forEach((row) => {
    const line = element("tr", body);
    row.texts.forEach((text, column) => {
      const named = data.columns[column].startsWith("layer");
      const cell = element("td", line, named ? "" : text, numbers[column] ? "" : "words");
      if (named) name(cell, row.names[column]);
      if (!numbers[column]) cell.title = column === 0 && row.more ? `${text}\n${row.more}` : text;
      if (column === data.share) {
        cell.className = "bar";
        cell.style.setProperty("--part", `${100 * (row.keys[column] || 0) / largestShare}%`);
      }
    });
    line.addEventListener("click", () => choose(row, true));
    lines.push({ row, line });
  });

  const show = () => {
    lines.sort(compare);
    body.replaceChildren(...lines.map(({ line }) => line));
    let shown = 0;
    const hidden = [new Set(), new Set()];
    for (const { row, line } of lines) {
      line.hidden = !matches(row);
      shown += !line.hidden;
      if (line.hidden) row.layers.forEach((indices, side) => indices.forEach((i) => hidden[side].add(i)));
    }
    boxes.forEach((list, side) => list.forEach((box, i) => box.classList.toggle("hidden", hidden[side].has(i))));
    counted.textContent = shown === lines.length ? `${shown} rows` : `${shown} of ${lines.length} rows`;
    document.querySelectorAll("#layers th").forEach((cell, column) => {
      if (column === order.column) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  };

  const choose = (row, fromTable) => {
    for (const { row: other, line } of lines) line.classList.toggle("chosen", other === row);
    boxes.forEach((list, side) => list.forEach((box, i) => box.classList.toggle("chosen", row.layers[side].includes(i))));
    if (fromTable) panes.forEach((pane, side) => row.layers[side].length && pane.centre && pane.centre(row.layers[side][0]));
    else lines.find(({ row: other }) => other === row).line.scrollIntoView({ block: "nearest" });
  };

  // The graph: 'at' is a column and a row.
  const [WIDTH, HEIGHT, STEP_X, STEP_Y] = [168, 34, 192, 62];
  const clip = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  const graph = (pane, side) => {
    const { boxes: list, lines: edges, path } = data.graphs[side];
    const svg = pane.querySelector("svg");
    const corner = ({ at }) => [at[0] * STEP_X, at[1] * STEP_Y];
    const hot = new Set(path);
    const steps = new Set(path.slice(1).map((to, i) => `${path[i]} ${to}`));
    const hottest = Math.max(...list.map((box) => box.share), 1e-9);
    for (const [from, to] of edges) {
      const [x1, y1] = corner(list[from]), [x2, y2] = corner(list[to]);
      const rows = list[to].at[1] - list[from].at[1];
      const aside = rows > 1 ? WIDTH / 2 + Math.min(26 + 7 * rows, 110) : 0;  // past what stands between
      const [top, end] = [y1 + HEIGHT, y2];
      const bend = rows > 1 ? (end - top) / 4 : (end - top) / 2;
      const curve = aside
        ? `M${x1 + WIDTH / 2 - 24} ${top} C${x1 + aside} ${top + bend / 2} ${x2 + aside} ${end - bend / 2} ${x2 + WIDTH / 2 - 24} ${end}`
        : `M${x1} ${top} C${x1} ${top + bend} ${x2} ${end - bend} ${x2} ${end}`;
      drawn("path", svg, { d: curve, class: steps.has(`${from} ${to}`) ? "path" : "" });
    }
    list.forEach((box, i) => {
      const [x, y] = corner(box);
      const group = drawn("g", svg, { class: hot.has(i) ? "box path" : "box", transform: `translate(${x - WIDTH / 2} ${y})` });
      drawn("rect", group, { width: WIDTH, height: HEIGHT, fill: "var(--card)" });
      drawn("rect", group, { width: WIDTH, height: HEIGHT, fill: "var(--s2)", "fill-opacity": 0.6 * box.share / hottest });
      drawn("title", group, {}).textContent = [box.name, box.kind, box.time, box.more].filter(Boolean).join("\n");
      drawn("text", group, { x: 7, y: 14 }).textContent = box.label;
      const below = [box.kind, box.time, box.time && `${(100 * box.share).toPrecision(2)} %`].filter(Boolean).join(" · ");
      drawn("text", group, { x: 7, y: 27, class: "dim" }).textContent = clip(below, 27);
      group.addEventListener("click", () => choose(data.rows.find((row) => row.layers[side].includes(i)), false));
      boxes[side].push(group);
    });
    view(pane, svg, list, corner);
  };

  const view = (pane, svg, list, corner) => {
    const xs = list.map((box) => corner(box)[0]), ys = list.map((box) => corner(box)[1]);
    const whole = { x: Math.min(...xs) - WIDTH, y: Math.min(...ys) - 20, w: 0, h: 0 };
    whole.w = Math.max(...xs) + WIDTH + 40 - whole.x;
    whole.h = Math.max(...ys) + HEIGHT + 20 - whole.y;
    let now = { ...whole };
    const set = () => svg.setAttribute("viewBox", `${now.x} ${now.y} ${now.w} ${now.h}`);
    const readable = () => {  // the top of the graph, at a size that can be read
      const { width, height } = svg.getBoundingClientRect();
      const w = Math.max(whole.w, width);
      now = { x: whole.x - (w - whole.w) / 2, y: whole.y, w, h: w * height / width };
      set();
    };
    const zoom = (factor, x = now.x + now.w / 2, y = now.y + now.h / 2) => {
      now = { x: x - (x - now.x) * factor, y: y - (y - now.y) * factor, w: now.w * factor, h: now.h * factor };
      set();
    };
    pane.centre = (index) => {
      const [x, y] = corner(list[index]);
      now = { ...now, x: x - now.w / 2, y: y - now.h / 2 };
      set();
    };
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const scale = now.w / svg.clientWidth;
      if (!event.ctrlKey) {
        now = { ...now, x: now.x + event.deltaX * scale, y: now.y + event.deltaY * scale };
        set();
        return;
      }
      const box = svg.getBoundingClientRect();
      zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, now.x + (event.clientX - box.x) * scale, now.y + (event.clientY - box.y) * scale);
    }, { passive: false });
    let held = null;
    svg.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY, now.x, now.y]; });
    addEventListener("pointermove", (event) => {
      if (!held) return;
      const scale = now.w / svg.clientWidth;
      now = { ...now, x: held[2] - (event.clientX - held[0]) * scale, y: held[3] - (event.clientY - held[1]) * scale };
      set();
    });
    addEventListener("pointerup", () => { held = null; });
    const actions = { in: () => zoom(1 / 1.4), out: () => zoom(1.4), fit: () => { now = { ...whole }; set(); } };
    pane.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", actions[button.dataset.zoom]));
    readable();
  };

  for (const facet of facets) {
    const column = Number(facet.dataset.facet);
    const values = [...new Set(data.rows.map((row) => row.texts[column]))].sort();
    element("option", facet, "all").value = "";
    for (const value of values) element("option", facet, value || "(none)").value = `=${value}`;
    facet.parentElement.hidden = values.length < 2;
    facet.addEventListener("change", show);
  }
  search.addEventListener("input", show);
  document.getElementById("reset").addEventListener("click", () => {
    search.value = "";
    for (const facet of facets) facet.value = "";
    show();
  });
  panes.forEach((pane, side) => data.graphs[side].lines.length ? graph(pane, side) : pane.remove());
  show();
  document.documentElement.dataset.drawn = "layers";
})();
