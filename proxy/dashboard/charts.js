// charts.js: the last minutes, drawn by Chart.js (a global: its file is no module). The x axis is the age of what is
// shown, so it does not move; it begins short and grows with what is known.

import { byId } from "./dom.js";
import { bytes, count, duration, percent } from "./format.js";
import { SPAN_S } from "./figures.js";

const AXIS_WIDTH = 58; // the same for all, so that no chart changes its width with its numbers
const RATIO_OVER_S = 10;
const SPANS_S = [120, 300, SPAN_S];

const CHARTS = [
  {
    id: "chart-requests",
    name: "Requests a second",
    format: count,
    stacked: true,
    over: 1,
    series: [
      { name: "from the store", colour: "hits", value: (d) => d.hitsPerS },
      { name: "with the origin", colour: "origin", value: (d) => d.requestsPerS - d.hitsPerS },
    ],
  },
  {
    id: "chart-bandwidth",
    name: "Bandwidth a second",
    format: bytes,
    over: 1,
    series: [
      { name: "to clients", colour: "hits", value: (d) => d.sentPerS },
      { name: "from origins", colour: "origin", value: (d) => d.receivedPerS },
    ],
  },
  {
    id: "chart-ratio",
    name: "Hit ratio",
    format: percent,
    tick: (value) => `${Math.round(value * 100)} %`,
    over: RATIO_OVER_S,
    max: 1,
    series: [{ name: "hits", colour: "hits", value: (d) => d.hitRatio }],
  },
  {
    id: "chart-latency",
    name: "Origin latency",
    format: duration,
    over: RATIO_OVER_S,
    plain: true,
    series: [
      { name: "half of all", colour: "hits", value: (d) => d.median },
      { name: "95 %", colour: "origin", value: (d) => d.p95 },
    ],
  },
];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function ageText(seconds) {
  return seconds === 0 ? "now" : `−${Math.round(-seconds / 60)} min`;
}

function options(spec) {
  return {
    animation: false,
    parsing: false,
    normalized: true,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    elements: { point: { radius: 0, hitRadius: 4 }, line: { borderWidth: 1.5 } },
    plugins: {
      legend: { display: false },
      tooltip: {
        displayColors: spec.series.length > 1,
        callbacks: {
          title: (items) => (items.length > 0 ? `${Math.round(-items[0].parsed.x)} s ago` : ""),
          label: (item) => `${item.dataset.label}: ${spec.format(item.parsed.y)}`,
        },
      },
    },
    scales: {
      x: { type: "linear", min: -SPANS_S[0], max: 0, grid: { display: false }, ticks: { stepSize: 60, maxRotation: 0, callback: ageText } },
      y: {
        beginAtZero: true,
        max: spec.max,
        stacked: spec.stacked,
        ticks: { maxTicksLimit: 5, callback: (value) => (spec.tick ?? spec.format)(value) },
        afterFit: (scale) => { scale.width = AXIS_WIDTH; },
      },
    },
  };
}

function paint(chart, spec) {
  spec.series.forEach((series, i) => {
    Object.assign(chart.data.datasets[i], {
      borderColor: colour(series.colour),
      backgroundColor: colour(`${series.colour}-fill`),
    });
  });
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = colour("soft");
    axis.grid.color = colour("grid");
    axis.border = { color: colour("line") };
    axis.grid.borderColor = colour("line");
  }
}

function makeChart(spec) {
  const datasets = spec.series.map((series, i) => ({
    label: series.name,
    data: [],
    fill: spec.plain ? false : spec.stacked && i > 0 ? "-1" : "origin",
  }));
  const config = options(spec);
  config.scales.y.grid = {};
  const chart = new globalThis.Chart(byId(spec.id), { type: "line", data: { datasets }, options: config });
  paint(chart, spec);
  return chart;
}

// Returns a function that draws what a History holds.
export function makeCharts() {
  globalThis.Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  globalThis.Chart.defaults.font.size = 11;
  const charts = CHARTS.map((spec) => ({ spec, chart: makeChart(spec) }));
  const repaint = () => charts.forEach(({ spec, chart }) => {
    paint(chart, spec);
    chart.update("none");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  return (history) => charts.forEach(({ spec, chart }) => draw(chart, spec, history));
}

function draw(chart, spec, history) {
  const now = history.newestMs;
  const known = (now - (history.samples[0]?.time_ms ?? now)) / 1000;
  const span = SPANS_S.find((seconds) => known <= seconds) ?? SPAN_S;
  const rows = [];
  for (let i = 1; i < history.samples.length; i++) {
    const x = (history.samples[i].time_ms - now) / 1000;
    const passed = x >= -span ? history.between(i, spec.over) : null;
    if (passed !== null) rows.push({ x, passed });
  }
  spec.series.forEach((series, i) => {
    chart.data.datasets[i].data = rows.map(({ x, passed }) => ({ x, y: series.value(passed) }));
  });
  Object.assign(chart.options.scales.x, { min: -span });
  chart.options.scales.x.ticks.stepSize = span > 300 ? 120 : 60;
  chart.update("none");
  const last = rows[rows.length - 1]?.passed;
  const said = last ? spec.series.map((series) => `${series.name} ${spec.format(series.value(last))}`).join(", ") : "nothing yet";
  byId(spec.id).setAttribute("aria-label", `${spec.name}, the last ten minutes; now: ${said}`);
}
