// What policies have learned: how often each action is chosen, what is known of it, and how both went.

import { ask } from './api.js';
import { chart } from './chart.js';
import { h } from './dom.js';
import { int, none, pct, plural, span } from './format.js';
import { badge, bar, card, head, interval, mono, noRelease, nothing, table, tile, tiles, trouble, waiting } from './parts.js';
import { betaQuantile } from './stats.js';

const COLOURS = ['blue', 'teal', 'violet', 'amber', 'rose', 'muted'];

function lines({ now, history }) {
  const top = now.actions.map((action, at) => ({ ...action, at })).sort((a, b) => b.chosen - a.chosen).slice(0, COLOURS.length)
    .sort((a, b) => a.at - b.at).filter(({ at }) => history.every((point) => point.actions[at]));
  const times = history.map((point) => point.time_ms / 1000);
  const share = top.map(({ at }) => history.map((point, i) => {
    if (!i) return null;
    const all = point.actions.reduce((sum, [chosen], j) => sum + Math.max(0, chosen - (history[i - 1].actions[j]?.[0] ?? chosen)), 0);
    return all ? Math.max(0, point.actions[at][0] - history[i - 1].actions[at][0]) / all : null;
  }));
  const mean = top.map(({ at }) => history.map((point) => point.actions[at][1] / (point.actions[at][1] + point.actions[at][2])));
  const series = top.map(({ id }, i) => ({ name: id, colour: COLOURS[i] }));
  const share1 = (n) => pct(n, n < 0.1 ? 1 : 0);
  return h('div', { class: 'two' },
    h('div', null, h('h3', null, 'Share of choices'), chart(`share-${now.bandit}`, { label: `Share of choices of ${now.bandit}, half an hour`, format: share1, series, empty: 1 }, [times, ...share])),
    h('div', null, h('h3', null, 'Posterior mean'), chart(`mean-${now.bandit}`, { label: `Posterior means of ${now.bandit}, half an hour`, format: (n) => pct(n, n < 0.1 ? 2 : 1), series, empty: 1 }, [times, ...mean])));
}

function told(bandit) {
  const { now } = bandit;
  const all = now.actions.reduce((sum, action) => sum + action.chosen, 0);
  const shown = now.actions.slice(0, 64).map((action) => ({ ...action, low: betaQuantile(0.025, action.a, action.b), high: betaQuantile(0.975, action.a, action.b), mean: action.a / (action.a + action.b) }));
  const reach = [0, Math.max(...shown.map(({ mean, high }) => Math.min(high, mean * 3 + 0.02)), 0.01)];
  const [counted, again, late, unclear] = now.rewards;
  // Of a model it depends on who asks; before the first choice all are alike.
  const best = all && now.actions[0]?.best != null ? now.actions.reduce((one, other) => (other.best > one.best ? other : one)) : null;
  return card(now.bandit, {
    key: now.bandit, actions: now.explores ? badge('explores', 'good') : badge('exploring is switched off', 'warn'),
    says: `Learns from ${now.reward} within ${span(now.window_s)} of the decision${now.half_life_s ? `; half is forgotten in ${span(now.half_life_s)}` : ''}.`,
  },
  tiles(tile('Choices', int(all), 'that are remembered'), tile('Rewards here', int(counted), `${int(again)} a second time, ${int(late)} late, ${int(unclear)} unclear`),
    tile('Most likely the best', best?.id ?? none, best ? pct(best.best) : all ? 'depends on who asks' : 'nothing was chosen yet')),
  table(`Actions of ${now.bandit}`, [{ name: 'Action' }, { name: 'Chosen', num: true }, { name: 'Rewarded', num: true }, { name: 'Posterior mean, 95 %' }, { name: 'Interval' }, { name: 'Is the best' }],
    shown.map((action) => ({
      key: action.id,
      cells: [h('b', null, action.id), int(action.chosen), int(action.rewarded), [h('b', null, pct(action.mean, 2)), h('span', { class: 'faint' }, ` ${pct(action.low, 2)} to ${pct(action.high, 2)}`)],
        interval({ from: action.low, to: action.high, at: action.mean }, reach, null, `${pct(action.low, 2)} to ${pct(action.high, 2)}`), action.best == null ? none : bar(action.best, pct(action.best))],
    }))),
  now.actions.length > 64 && h('p', { class: 'says' }, `and ${plural(now.actions.length - 64, 'more action')}; the command selvedge bandits has all.`),
  bandit.history.length > 1 ? lines(bandit) : nothing('Its course is drawn from the second point on: one comes every ten seconds.'));
}

export default {
  title: 'Bandits',
  enter(ctx) {
    let of = null;
    let failed = null;
    ctx.every(5000, async () => {
      try { of = await ask('bandits'); failed = null; } catch (error) { failed = error; }
    });
    return () => {
      if (failed && !of) return [head('Bandits'), trouble('The bandits cannot be read.', failed.message)];
      if (!of) return waiting();
      const { status } = ctx.node;
      if (status && !status.releases.active) return [head('Bandits'), noRelease(status)];
      return [
        head('Bandits', 'What the core has merged of all nodes, and what this one has learned since; intervals hold 95 % of the posterior.'),
        of.bandits.length ? of.bandits.map(told)
          : nothing('No placement of the running release learns.', h('p', null, 'Say so in one: ', mono('choose = { policy = "thompson", reward = "click" }'), '.')),
      ];
    };
  },
};
