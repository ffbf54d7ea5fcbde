// Time lines on a canvas: lanes from top to bottom, spans packed as typed arrays. Names only ever become text.
"use strict";
(() => {
  const all = JSON.parse(document.getElementById("timeline-data").textContent);
  const KINDS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array };
  const [LANE, AXIS, GAP] = [20, 22, 3];
  const COLOURS = {
    decode: "--s4", prepare: "--s3", launch: "--s5", "in flight": "--muted", infer: "--s1", finish: "--s7",
    "to device": "--s6", preparation: "--s3", kernels: "--s1", "to host": "--s8",
  };
  const unpacked = ({ dtype, bdata }) => {
    const bytes = Uint8Array.from(atob(bdata), (letter) => letter.charCodeAt(0));
    return new KINDS[dtype](bytes.buffer);
  };
  const duration = (ms) => (ms < 0.001 ? `${(ms * 1e6).toFixed(0)} ns`
    : ms < 1 ? `${(ms * 1000).toPrecision(3)} us` : ms < 10000 ? `${ms.toPrecision(4)} ms` : `${(ms / 1000).toPrecision(4)} s`);

  const element = (name, parent, text = "", style = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    if (style) made.className = style;
    parent.append(made);
    return made;
  };

  const picture = (place) => {
    const data = all[Number(place.dataset.index)];
    const { lanes, doing } = data;
    const [lane, kind, start, took, frame, frames] = ["lane", "kind", "start", "took", "frame", "frames"].map((name) => unpacked(data[name]));
    const last = start.reduce((most, at, i) => Math.max(most, at + took[i]), 0);
    const canvas = element("canvas", place);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `time line with ${lanes.length} lanes and ${start.length} spans`);
    const keys = element("div", place, "", "keys");
    const tip = element("div", place, "", "tip");
    tip.hidden = true;
    const used = [...new Set(kind)].sort((a, b) => a - b);
    for (const i of used) {
      const key = element("span", keys);
      element("i", key).style.background = `var(${COLOURS[doing[i]]})`;
      key.append(doing[i]);
    }
    const height = AXIS + lanes.length * LANE + 4;
    let [from, to] = data.view;
    let width = 0, label = 0, pending = false;

    const x = (ms) => label + (ms - from) / (to - from) * (width - label);
    const paint = () => {
      pending = false;
      width = place.clientWidth;
      label = Math.min(170, width * 0.3);
      const ratio = devicePixelRatio || 1;
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      canvas.style.height = `${height}px`;
      const css = getComputedStyle(document.body);
      const ink = (name) => css.getPropertyValue(name).trim();
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.font = `11px ${css.fontFamily}`;
      pen.textBaseline = "middle";
      grid(pen, ink);
      const onSeries = ink("--on-series");
      const colours = doing.map((name) => ink(COLOURS[name]));
      for (let i = 0; i < start.length; i += 1) {
        if (start[i] > to || start[i] + took[i] < from) continue;
        const left = Math.max(label, x(start[i]));
        const right = x(start[i] + took[i]);
        if (right < label) continue;
        pen.fillStyle = colours[kind[i]];
        const size = right - left;
        pen.fillRect(left, AXIS + lane[i] * LANE + GAP, size > 3 ? size - 1 : Math.max(1, size), LANE - 2 * GAP);
        const text = size > 24 && [`${doing[kind[i]]} ${frame[i]}`, String(frame[i])].find((words) => pen.measureText(words).width < size - 8);
        if (text) {
          pen.fillStyle = onSeries;
          pen.fillText(text, left + 4, AXIS + (lane[i] + 0.5) * LANE);
        }
      }
      pen.clearRect(0, 0, label, height);
      pen.fillStyle = ink("--ink");
      lanes.forEach((name, i) => {
        let text = name;
        while (text.length > 4 && pen.measureText(text).width > label - 10) text = `${text.slice(0, -2)}…`;
        pen.fillText(text, 0, AXIS + (i + 0.5) * LANE);
      });
    };

    const grid = (pen, ink) => {
      const aim = (to - from) / Math.max(3, (width - label) / 110);
      const power = 10 ** Math.floor(Math.log10(aim));
      const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= aim);
      const [slowStart, slowEnd] = data.slowest;
      pen.fillStyle = ink("--line");
      pen.globalAlpha = 0.45;
      pen.fillRect(Math.max(label, x(slowStart)), AXIS, Math.max(1, x(slowEnd) - Math.max(label, x(slowStart))), height);
      pen.globalAlpha = 1;
      pen.strokeStyle = ink("--line");
      for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
        const left = Math.round(x(at)) + 0.5;
        pen.beginPath();
        pen.moveTo(left, AXIS - 4);
        pen.lineTo(left, height);
        pen.stroke();
        pen.fillStyle = ink("--dim");
        const when = at === 0 ? "0" : (at < 0 ? "-" : "") + duration(Math.abs(at));
        if (left + 3 + pen.measureText(when).width <= width) pen.fillText(when, left + 3, 9);
      }
      for (let i = 0; i <= lanes.length; i += 1) {
        pen.beginPath();
        pen.moveTo(0, AXIS + i * LANE + 0.5);
        pen.lineTo(width, AXIS + i * LANE + 0.5);
        pen.stroke();
      }
    };

    const redraw = () => {
      if (!pending) requestAnimationFrame(paint);
      pending = true;
    };
    const show = (begin, end) => {
      const size = Math.min(Math.max(end - begin, 1e-4), 2 * (last || 1) + 1);
      const middle = (begin + end) / 2;
      [from, to] = [middle - size / 2, middle + size / 2];
      redraw();
    };
    const zoom = (factor, at = (from + to) / 2) => show(at - (at - from) * factor, at + (to - at) * factor);
    const timeAt = (event) => from + (event.offsetX - label) / (width - label) * (to - from);
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey) zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
      else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) show(from + event.deltaX * (to - from) / width, to + event.deltaX * (to - from) / width);
      else return;
      event.preventDefault();
    }, { passive: false });
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = [event.clientX, from, to];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", () => { held = null; });
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("pointermove", (event) => {
      if (held) {
        const moved = (held[0] - event.clientX) / (width - label) * (held[2] - held[1]);
        show(held[1] + moved, held[2] + moved);
        return;
      }
      const [at, row] = [timeAt(event), Math.floor((event.offsetY - AXIS) / LANE)];
      const near = 2 / (width - label) * (to - from);
      const i = lane.findIndex((number, span) => number === row && start[span] - near <= at && at <= start[span] + took[span] + near);
      tip.hidden = i < 0 || event.offsetX < label;
      if (tip.hidden) return;
      const batch = frames[i] > 1 ? ` (batch of ${frames[i]})` : "";
      tip.textContent = `${doing[kind[i]]}, frame ${frame[i]}${batch}\n${duration(took[i])} from ${duration(start[i])}\n${lanes[row]}`;
      tip.style.left = `${Math.min(event.offsetX + 12, width - 190)}px`;
      tip.style.top = `${event.offsetY + 40}px`;
    });
    const actions = { in: () => zoom(0.5), out: () => zoom(2), fit: () => show(0, last), slowest: () => show(...data.view) };
    place.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", actions[button.dataset.zoom]));
    new ResizeObserver(redraw).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    addEventListener("beforeprint", paint);
    addEventListener("afterprint", redraw);
    place.shown = () => [from, to];
    paint();
  };

  document.querySelectorAll(".timeline").forEach(picture);
})();
