// The timeline: one bar per call over seconds, planner on top, execution k of every round in row k.
//
// It knows bars (path.js) and SVG. The critical path is solid and joined by a line; the rest is pale.

import { svg } from "./dom.js";

const ROW = 15;
const BAR = 9;
const LEFT = 40;
const RIGHT = 12;
const AXIS = 18;
const MOST_ROWS = 32;

export class Timeline {
  /** `picked` is told the key of a bar that was clicked, `resized` is called when it must be drawn again. */
  constructor(node, picked, resized) {
    this.node = node;
    this.drawn = "";
    this.width = 200;
    new ResizeObserver(([{ contentRect }]) => {
      this.width = Math.max(200, contentRect.width); // told once it is known: asking would lay the page out every frame
      resized();
    }).observe(node);
    node.addEventListener("click", (event) => {
      const key = event.target.dataset?.key;
      if (key) picked(key);
    });
  }

  /** Draws the bars over `duration` seconds, with a cursor at `at` (null: none). */
  draw(bars, duration, at) {
    const { width } = this;
    const wanted = `${width}|${duration.toFixed(2)}|${at}|${bars.map((bar) => bar.end + bar.outcome + bar.critical).join()}`;
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    const rows = Math.min(MOST_ROWS, 1 + Math.max(0, ...bars.map((bar) => bar.row)));
    const span = Math.max(duration, 0.001);
    const scale = { x: (second) => LEFT + (second / span) * (width - LEFT - RIGHT), bottom: rows * ROW + 4 };
    const parts = [
      ...axis(span, scale),
      ...labels(rows, bars),
      ...path(bars, scale),
      ...bars.filter((bar) => bar.row < MOST_ROWS).map((bar) => drawn(bar, scale)),
    ];
    if (at !== null)
      parts.push(svg("line", { class: "cursor", x1: scale.x(at), x2: scale.x(at), y1: 0, y2: scale.bottom }));
    const height = scale.bottom + AXIS;
    this.node.replaceChildren(
      svg("svg", { width, height, role: "img", "aria-label": summary(bars, duration) }, ...parts),
    );
  }
}

function summary(bars, duration) {
  if (!bars.length) return "No calls yet";
  const names = bars
    .filter((bar) => bar.critical)
    .sort((a, b) => a.start - b.start)
    .map(nameOf);
  return `${bars.length} calls over ${duration.toFixed(1)} seconds. Critical path: ${names.join(", ")}.`;
}

function nameOf(bar) {
  if (bar.kind === "execution") return `execution ${bar.key}`;
  if (bar.kind === "plan") return `plan ${bar.round}`;
  return bar.kind === "final" ? "final answer" : "one breath";
}

function yOf(bar) {
  return Math.min(bar.row, MOST_ROWS) * ROW + 4;
}

function drawn(bar, scale) {
  const [x, first, end] = [bar.start, bar.first, bar.end].map(scale.x);
  const y = yOf(bar);
  const classes = ["bar", bar.kind, bar.critical ? "critical" : "", bar.outcome ? "" : "running"]
    .filter(Boolean)
    .join(" ");
  const tokens = bar.tokens === null || bar.tokens === undefined ? "" : `, ${bar.tokens} tokens`;
  const words = `${nameOf(bar)}: ${bar.start.toFixed(2)}–${bar.end.toFixed(2)} s${tokens}${bar.outcome ? `, ${bar.outcome}` : ""}`;
  const waits = svg("rect", { class: "waits", x, y, width: Math.max(0, first - x), height: BAR, rx: 1 });
  const writes = svg("rect", { class: "writes", x: first, y, width: Math.max(1, end - first), height: BAR, rx: 1 });
  for (const part of [waits, writes]) part.dataset.key = bar.key;
  return svg("g", { class: classes, "data-outcome": bar.outcome || "running" }, svg("title", {}, words), waits, writes);
}

/** A line through the bars that everything waited for, in the order they were waited for. */
function path(bars, scale) {
  const on = bars.filter((bar) => bar.critical).sort((a, b) => a.end - b.end || a.start - b.start);
  const point = (second, bar) => `${scale.x(second)},${yOf(bar) + BAR / 2}`;
  const steps = on.slice(1).map((bar, index) => `${point(bar.start, on[index])} ${point(bar.start, bar)}`);
  if (!steps.length) return [];
  const points = [point(on[0].start, on[0]), ...steps, point(on.at(-1).end, on.at(-1))];
  return [svg("polyline", { class: "path", points: points.join(" ") })];
}

function labels(rows, bars) {
  const only = bars.every((bar) => bar.row === 0);
  const step = rows > 14 ? 2 : 1;
  const numbers = Array.from({ length: rows }, (_, row) => row).filter(
    (row) => row === 0 || row % step === 0 || row === 1,
  );
  const words = (row) => (row === 0 ? (only ? "model" : "plan") : String(row));
  return numbers.map((row) =>
    svg("text", { class: "label", x: LEFT - 8, y: row * ROW + 12, "text-anchor": "end" }, words(row)),
  );
}

function axis(span, scale) {
  const step = stepOf(span);
  const ticks = Array.from({ length: Math.floor(span / step + 1e-6) + 1 }, (_, index) => index * step);
  return ticks.flatMap((second) => [
    svg("line", { class: "grid", x1: scale.x(second), x2: scale.x(second), y1: 0, y2: scale.bottom }),
    svg(
      "text",
      { class: "label", x: scale.x(second), y: scale.bottom + 12, "text-anchor": "middle" },
      `${Number(second.toFixed(3))} s`,
    ),
  ]);
}

/** 1, 2 or 5 times a power of ten: about six ticks. */
function stepOf(span) {
  const rough = span / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}
