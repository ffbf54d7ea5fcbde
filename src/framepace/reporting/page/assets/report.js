// Draws the figures of the page: Python gives data and layout, the style sheet gives the colours.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const places = [...document.querySelectorAll(".plot")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;

  // A string such as "--s1" is a custom property of the style sheet; typed arrays are strings that never start so.
  const resolve = (value, css) => {
    if (typeof value === "string") return (value.startsWith("--") && css.getPropertyValue(value).trim()) || value;
    if (Array.isArray(value)) return value.map((item) => resolve(item, css));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, css)]));
  };

  const base = (css, narrow) => {
    const ink = css.getPropertyValue("--ink").trim();
    const line = css.getPropertyValue("--line").trim();
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, title: { standoff: 8 } };
    return {
      font: { family: css.fontFamily, size: narrow ? 11 : 12, color: ink },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 48 : 64, r: 16, t: 12, b: 44 },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", xanchor: "left", traceorder: "normal" },
      hoverlabel: { bgcolor: css.getPropertyValue("--card").trim(), font: { color: ink }, bordercolor: line },
      bargap: 0.3,
      dragmode: touch ? false : "zoom",
      template: { layout: { xaxis: axis, yaxis: axis } },
    };
  };

  const draw = (width) => {
    const css = getComputedStyle(document.body);
    const narrow = (width || innerWidth) < 600;
    const drawn = places.map((place, i) => {
      const { data, layout } = figures[i];
      const whole = { ...base(css, narrow), ...resolve(layout, css), ...(width ? { width } : { autosize: true }) };
      return Plotly.react(place, resolve(data, css), whole, { displayModeBar: false, responsive: !width });
    });
    return Promise.all(drawn).then(() => { document.documentElement.dataset.drawn = String(places.length); });
  };

  dark.addEventListener("change", () => draw());
  // Paper is white and narrow whatever the screen is.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    draw(680);
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    draw();
  });
  draw();
})();
