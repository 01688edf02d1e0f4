// Lines over time, by uPlot. Owns their colours, the row of values above them, and that a chart is made once and then only fed.

import { h, own } from './dom.js';
import { clock } from './format.js';

const known = new Map();
const dark = matchMedia('(prefers-color-scheme: dark)');
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const HEIGHT = 168;

dark.addEventListener('change', () => known.forEach((chart) => chart.build()));

class Chart {
  constructor(id, { label, series, format, empty = 10 }) {
    Object.assign(this, { id, label, series, format, empty });
    this.legend = h('ul', { class: 'legend' });
    this.plot = h('div', { class: 'plot', role: 'img', 'aria-label': label });
    this.host = h('div', { class: 'chart', 'data-own': id, 'data-key': id }, this.legend, this.plot);
    this.data = [[], ...series.map(() => [])];
    this.at = null;
    new ResizeObserver(() => this.fit()).observe(this.host);
    this.values = series.map(({ name, colour }) => {
      const value = h('b');
      this.legend.append(h('li', null, h('i', { class: `dot ${colour}` }), `${name} `, value));
      return value;
    });
  }

  build() {
    this.uplot?.destroy();
    this.uplot = null;
    const width = this.plot.clientWidth;
    if (!width) return;
    const [muted, line] = [colour('muted'), colour('line')];
    const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    this.uplot = new uPlot({
      width, height: HEIGHT, legend: { show: false }, padding: [8, 16, 0, 0],
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      // Where all is nothing the scale ends somewhere all the same, so that what is marked on it differs.
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : this.empty] } },
      axes: [
        { ...axis, size: 28, space: 90, values: (_, ticks) => ticks.map((tick) => (tick % 60 ? clock(tick * 1000) : clock(tick * 1000).slice(0, 5))) },
        { ...axis, size: 58, space: 34, values: (_, ticks) => ticks.map((tick) => this.format(tick)) },
      ],
      series: [{}, ...this.series.map(({ name, colour: of }) => ({
        label: name, stroke: colour(of), width: 1.75, points: { show: false }, spanGaps: false,
      }))],
      hooks: { setCursor: [(u) => { this.at = u.cursor.idx; this.tell(); }] },
    }, this.data, this.plot);
  }

  fit() {
    if (!this.plot.clientWidth) return;
    if (this.uplot) this.uplot.setSize({ width: this.plot.clientWidth, height: HEIGHT });
    else this.build();
  }

  feed(data) {
    this.data = data;
    if (this.uplot) this.uplot.setData(data);
    this.tell();
  }

  /** The values under the pointer, or the last. */
  tell() {
    const at = this.at ?? this.data[0].length - 1;
    this.values.forEach((el, i) => {
      const value = this.data[i + 1]?.[at];
      const text = value == null ? '' : this.format(value);
      if (el.textContent !== text) el.textContent = text;
    });
    const last = this.data[0].length - 1;
    const told = this.series.map(({ name }, i) => `${name} ${this.data[i + 1]?.[last] == null ? 'none' : this.format(this.data[i + 1][last])}`);
    this.plot.setAttribute('aria-label', `${this.label}. Now: ${told.join(', ')}.`);
  }
}

/** The chart of an id, made once, with these columns: times in seconds, then one for each series. */
export function chart(id, options, data) {
  const before = known.get(id);
  const same = before && before.series.map((one) => one.name).join() === options.series.map((one) => one.name).join();
  const found = same ? before : new Chart(id, options);
  if (!same) {
    before?.uplot?.destroy();
    before?.host.replaceWith(found.host);
    known.set(id, found);
    own(id, found.host);
  }
  found.format = options.format;
  found.feed(data);
  return h('div', { class: 'chart', 'data-own': id, 'data-key': id });
}
