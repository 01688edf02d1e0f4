// The first look: is the node well, how much does it decide, how fast, how well does it reach the core, who runs what.

import { ask } from './api.js';
import { chart } from './chart.js';
import { h } from './dom.js';
import { bytes, int, ms, pct, plural, rate, span, us, words } from './format.js';
import { card, head, noRelease, nothing, reasonColour, tile, tiles, trouble, waiting } from './parts.js';
import { nodesTable } from './page-releases.js';

const sum = (list, of) => list.reduce((all, one) => all + of(one), 0);

/** What a second brought, of counters that go up: by sample, the first being unknown. */
const steps = (samples, of) => samples.map((sample, at) => {
  const before = samples[at - 1];
  if (!before) return null;
  const seconds = (sample.time_ms - before.time_ms) / 1000;
  return seconds > 0 ? Math.max(0, of(sample) - of(before)) / seconds : null;
});

export function troubles(status) {
  const reasons = status.ready.reasons;
  if (!reasons.length) return null;
  const title = status.ready.status === 'not_ready' ? 'The node cannot decide.' : 'The node decides, but something is amiss.';
  return trouble(title, null, h('ul', null, reasons.map((reason) =>
    h('li', { 'data-key': reason.code }, h('b', null, words(reason.code)), ` for ${span((Date.now() - Date.parse(reason.since)) / 1000)}: ${reason.detail}`))));
}

function shownTiles({ samples, status, reasons }) {
  const last = samples.slice(-10);
  const minute = samples.slice(-60);
  const seconds = Math.max(1, last.length > 1 ? (last.at(-1).time_ms - last[0].time_ms) / 1000 : 1);
  // By the counters of reasons: they have also what the node was too busy to ask a scorer for.
  const since = (list, of) => (list.length > 1 ? of(list.at(-1)) - of(list[0]) : 0);
  const all = (s) => sum(s.reasons, (n) => n);
  const decisions = since(last, all) / seconds;
  const inMinute = since(minute, all);
  const busy = minute.filter((s) => s.all.decisions > 0);
  const p99 = busy.length ? Math.max(...busy.map((s) => s.all.p99_us)) : null;
  const p50 = busy.length ? busy.map((s) => s.all.p50_us).sort((a, b) => a - b)[busy.length >> 1] : null;
  const fallbacks = since(minute, (s) => s.reasons[reasons.indexOf('FALLBACK')] ?? 0);
  const faults = sum(minute, (s) => s.all.faults);
  const events = steps(last, (s) => s.events).filter((n) => n != null);
  const backlog = samples.length ? sum(samples.at(-1).backlog, (n) => n) : null;
  const { link } = status;
  return tiles(
    tile('Decisions', h('span', null, rate(decisions), h('small', null, '/s')), `${int(inMinute)} in the last minute`),
    tile('Latency, p99', us(p99), p50 == null ? 'nothing decided' : `median ${us(p50)}`),
    tile('Fallbacks', pct(inMinute ? fallbacks / inMinute : 0, 2), `${plural(faults, 'fault')} in the last minute`, fallbacks > 0 && fallbacks / inMinute > 0.01 ? 'warn' : null),
    tile('Events', h('span', null, rate(events.length ? sum(events, (n) => n) / events.length : 0), h('small', null, '/s')), `${int(samples.at(-1)?.events ?? 0)} since the start`),
    tile('Waiting for the core', bytes(backlog), status.outbox.stuck ? 'stuck' : 'outbox, all lanes', status.outbox.stuck ? 'bad' : null),
    tile(link.kind === 'local' ? 'Link: a folder' : 'Link to the core', link.connected ? 'up' : 'down',
      `for ${span((Date.now() - Date.parse(link.since)) / 1000)}`, link.connected ? null : 'bad'),
  );
}

function charts({ samples, reasons }) {
  const times = samples.map((s) => s.time_ms / 1000);
  const rates = reasons.map((_, at) => steps(samples, (s) => s.reasons[at]));
  const seen = reasons.map((_, at) => at).filter((at) => reasons[at] === 'SCORED' || samples.at(-1)?.reasons[at] > 0);
  const latency = (of) => samples.map((s) => (s.all.decisions ? s.all[of] : null));
  return h('div', { class: 'two' },
    card('Decisions a second, by reason', { key: 'rates' },
      chart('rates', { label: 'Decisions a second by reason, ten minutes', format: rate,
        series: seen.map((at) => ({ name: reasons[at].toLowerCase(), colour: reasonColour(reasons[at]) })) }, [times, ...seen.map((at) => rates[at])])),
    card('Latency of a decision', { key: 'latency' },
      chart('latency', { label: 'Latency of decisions, ten minutes', format: us,
        series: [{ name: 'p50', colour: 'teal' }, { name: 'p90', colour: 'blue' }, { name: 'p99', colour: 'violet' }] },
      [times, latency('p50_us'), latency('p90_us'), latency('p99_us')])),
    card('Fallbacks and faults a second', { key: 'wrong' },
      chart('wrong', { label: 'Fallbacks and faults a second, ten minutes', format: rate, series: [{ name: 'fallbacks', colour: 'bad' }, { name: 'faults', colour: 'amber' }] },
        [times, steps(samples, (s) => s.reasons[reasons.indexOf('FALLBACK')] ?? 0), samples.map((s) => s.all.faults)])),
    card('Lag of features', { key: 'lag' },
      chart('lag', { label: 'The largest lag of a view, ten minutes', format: ms, series: [{ name: 'largest lag', colour: 'blue' }] },
        [times, samples.map((s) => s.lag_ms)])));
}

export default {
  title: 'Overview',
  enter(ctx) {
    let nodes = null;
    let failed = null;
    ctx.every(5000, async () => {
      try { nodes = await ask('nodes'); failed = null; } catch (error) { failed = error; }
    });
    return () => {
      const { node } = ctx;
      if (!node.status) return waiting();
      const { status, samples } = node;
      return [
        head('Overview', `${status.node}, version ${status.version}, running for ${span((Date.now() - Date.parse(status.started)) / 1000)}`),
        troubles(status),
        !status.releases.active ? noRelease(status) : samples.length && !samples.at(-1).reasons.some((n) => n > 0)
          ? nothing('Nothing was decided since the node started.', h('p', null, 'Ask by POST /v1/decide, or try the ', h('a', { href: '#/playground' }, 'playground'), '.')) : null,
        samples.length ? [shownTiles(node), charts(node)] : waiting(),
        card('Releases by node', { key: 'nodes' }, nodes ? nodesTable(nodes, status) : failed ? trouble('It cannot be told.', failed.message) : waiting()),
      ];
    };
  },
};
