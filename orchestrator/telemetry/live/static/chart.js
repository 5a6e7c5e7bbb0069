// A chart over the time of the run: lines or stacked areas, faults shaded, the shown instant marked, labels at the lines.

import { colour, font } from "./looks.js";
import { onAxis } from "./format.js";

const LABEL_ROOM = 92;
const LINE_HEIGHT = 14;

export class Chart {
  /** `axis` writes a value on the y axis; `most` fixes its upper end. */
  constructor(container, { height = 190, axis, most = null }) {
    this.container = container;
    this.height = height;
    this.axis = axis;
    this.most = most;
    this.shown = { lines: [], shades: [], cursor: 0, length: 1 };
    new ResizeObserver(() => {
      if (this.plot && container.clientWidth) this.plot.setSize({ width: container.clientWidth, height: this.height });
    }).observe(container);
  }

  /** Make it as high as that, in pixels. */
  resize(height) {
    if (this.height === height) return;
    this.height = height;
    this.plot?.setSize({ width: this.container.clientWidth, height });
  }

  /** Show lines `{name, label, values, colour, width, dash, stacked}` over the instants `x`; `shades` are [from, to]. */
  draw(shown) {
    const before = this.shown;
    this.shown = shown;
    const key = JSON.stringify(shown.lines.map(({ name, colour, width, dash, stacked, dots }) => [name, colour, width, dash, stacked, dots]));
    const data = [shown.x, ...shown.lines.map((line) => line.values)];
    if (!this.plot || key !== this.key) {
      this.key = key;
      this.make(data);
    } else if (shown.version !== before.version || shown.length !== before.length) {
      this.plot.setData(data);
    } else {
      this.plot.redraw(false);
    }
  }

  /** Draw anew in the colours of the page's looks. */
  looks() {
    this.key = null;
  }

  make(data) {
    this.plot?.destroy();
    const axis = { stroke: () => colour("soft"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1, size: 4 }, font: font(11), gap: 4 };
    const stacked = this.shown.lines.map((line, index) => ({ line, index: index + 1 })).filter(({ line }) => line.stacked);
    this.plot = new uPlot({
      width: this.container.clientWidth || 300,
      height: this.height,
      legend: { show: false },
      cursor: { show: false },
      padding: [10, this.shown.labels ? LABEL_ROOM : 12, 0, 0],
      scales: {
        x: { time: false, range: () => [0, this.shown.length] },
        y: { range: (_, least, most) => [0, this.most ?? Math.max(1e-9, (most ?? 1) * 1.05)] },
      },
      axes: [
        { ...axis, size: 26, space: 56, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "0" : `${tick} s`)) },
        { ...axis, size: 58, space: 34, values: (_, ticks) => ticks.map(this.axis) },
      ],
      series: [
        {},
        ...this.shown.lines.map((line) => ({
          stroke: line.colour, width: line.width ?? 1.5, dash: line.dash, spanGaps: true,
          points: { show: Boolean(line.dots), size: 5, fill: line.colour },
          fill: line === stacked.at(-1)?.line ? faint(line.colour) : undefined,
        })),
      ],
      bands: stacked.slice(0, -1).map(({ line, index }) => ({ series: [index, index + 1], fill: faint(line.colour) })),
      hooks: { drawClear: [(plot) => this.shade(plot)], draw: [(plot) => this.mark(plot)] },
    }, data, this.container);
  }

  shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("fault");
    ctx.globalAlpha = 0.45;
    for (const [from, to] of this.shown.shades) {
      const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.restore();
  }

  mark(plot) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    const x = plot.valToPos(Math.min(this.shown.cursor, this.shown.length), "x", true);
    ctx.strokeStyle = colour("ink");
    ctx.lineWidth = ratio;
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (this.shown.labels) this.label(plot, ratio);
    ctx.restore();
  }

  /** Names at the right end of the lines, moved apart where they would touch. */
  label(plot, ratio) {
    const { ctx, bbox } = plot;
    const ends = [];
    this.shown.lines.forEach((line, index) => {
      if (!line.label) return;
      const at = line.values.findLastIndex((value) => value !== null && value !== undefined);
      if (at < 0) return;
      const last = line.values[at];
      let value = last;
      if (line.stacked) {
        const below = this.shown.lines.slice(index + 1).find((each) => each.stacked)?.values[at] ?? 0;
        if (Math.abs(plot.valToPos(last, "y", true) - plot.valToPos(below, "y", true)) < 9 * ratio) return;
        value = (last + below) / 2;
      }
      const x = Math.min(plot.valToPos(this.shown.x[at], "x", true), bbox.left + bbox.width);
      ends.push({ line, x, y: plot.valToPos(value, "y", true) });
    });
    ends.sort((a, b) => a.y - b.y);
    const step = LINE_HEIGHT * ratio;
    ends.forEach((end, index) => { if (index) end.y = Math.max(end.y, ends[index - 1].y + step); });
    const over = ends.length ? ends.at(-1).y - (bbox.top + bbox.height) : 0;
    if (over > 0) ends.forEach((end) => { end.y -= over; });
    ctx.font = font(11 * ratio);
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    for (const { line, x, y } of ends) {
      ctx.fillStyle = line.colour;
      ctx.fillText(line.label, x + 6 * ratio, y);
    }
  }
}

const faint = (colour) => colour + "55";

/** A y axis of quantities with a unit. */
export const quantityAxis = (symbol) => (value) => onAxis(value, symbol);
