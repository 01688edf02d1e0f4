// Experiments as this node has seen them: first whether the arms have the units they should, then what they brought.

import { ask } from './api.js';
import { h } from './dom.js';
import { day, int, none, num, pct, plural } from './format.js';
import { badge, card, head, interval, mono, noRelease, nothing, table, trouble, waiting } from './parts.js';
import { lift, sampleRatio, wilson } from './stats.js';

/** Under this, chance is not the reason: the usual bar of a check that is looked at again and again. */
const MISMATCH = 0.001;
/** So many are expected of each arm at least, for the check to say anything. */
const LEAST = 5;

function ratio(of) {
  const { all, chi2, df, p, least } = sampleRatio(of.arms.map((arm) => arm.units), of.arms.map((arm) => arm.share));
  if (!all || least < LEAST) return badge(`sample ratio: too few ${of.unit}s to tell`);
  const text = `χ² ${num(chi2, 3)}, ${plural(df, 'degree')} of freedom, p ${p < 1e-4 ? '< 0.0001' : p.toFixed(4)}`;
  return p < MISMATCH ? badge(`sample ratio mismatch: ${text}`, 'bad') : badge(`sample ratio holds: ${text}`, 'good');
}

const isOff = (of) => {
  const { all, p, least } = sampleRatio(of.arms.map((arm) => arm.units), of.arms.map((arm) => arm.share));
  return all > 0 && least >= LEAST && p < MISMATCH;
};

function lifts(of, at) {
  const base = of.arms[0];
  const counts = (arm) => [arm.rewards[at]?.units ?? 0, arm.units];
  const told = of.arms.slice(1).map((arm) => lift(...counts(arm), ...counts(base)));
  const reach = Math.min(2, Math.max(0.05, ...told.filter(Boolean).flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)])));
  const shown = (share) => `${share > 0 ? '+' : ''}${(share * 100).toFixed(1)} %`;
  return table(`${of.experiment}: ${of.kinds[at]}`, [{ name: 'Arm' }, { name: of.unit === 'session' ? 'Sessions with one' : 'Subjects with one', num: true }, { name: 'Rate, 95 %' }, { name: 'Lift over the first arm' }, { name: 'Interval, 95 %' }, { name: 'Value', num: true }],
    of.arms.map((arm, i) => {
      const [hits, all] = counts(arm);
      const within = wilson(hits, all);
      const l = i ? told[i - 1] : null;
      const sure = l && (l.low > 0 || l.high < 0);
      return {
        key: arm.name,
        cells: [h('b', null, arm.name), `${int(hits)} of ${int(all)}`, within ? [h('b', null, pct(hits / all, 2)), h('span', { class: 'faint' }, ` ${pct(within[0], 2)} to ${pct(within[1], 2)}`)] : none,
          i === 0 ? h('span', { class: 'faint' }, 'compared with') : l ? (sure ? badge(shown(l.lift), l.lift > 0 ? 'good' : 'bad') : shown(l.lift)) : h('span', { class: 'faint' }, 'too few'),
          l ? [interval({ from: l.low, to: l.high, at: l.lift }, [-reach, reach], 0, `${shown(l.low)} to ${shown(l.high)}`), h('span', { class: 'faint' }, ` ${shown(l.low)} to ${shown(l.high)}`)] : none,
          num(arm.rewards[at]?.value ?? 0)],
      };
    }));
}

function told(of) {
  const off = isOff(of);
  return card(of.experiment, {
    key: `${of.placement}/${of.experiment}`, actions: ratio(of),
    says: [`In ${of.placement}, by ${of.unit}`, of.since_us ? `, counted here since ${day(of.since_us / 1000)}.` : '.',
      of.overridden ? ` ${plural(of.overridden, 'decision')} by an override ${of.overridden === 1 ? 'is' : 'are'} left out.` : '',
      of.uncounted ? ` ${plural(of.uncounted, 'decision')} of further ${of.unit}s found no room to be counted.` : '',
      of.pages > 0 ? ` ${plural(of.pages, 'decision')} made in pages ${of.pages === 1 ? 'is' : 'are'} not counted here.` : ''],
  },
  off && trouble('The arms do not have the units they should, so what follows says nothing.',
    'Look first for what loses or adds units in one arm: a redirect, a crash, a bot, a cache, an event sent twice.'),
  table(`Arms of ${of.experiment}`, [{ name: 'Arm' }, { name: 'Should have', num: true }, { name: `${of.unit === 'session' ? 'Sessions' : 'Subjects'}`, num: true }, { name: 'Has', num: true }, { name: 'Decisions', num: true }, { name: 'Seen by a page', num: true }],
    of.arms.map((arm) => {
      const all = of.arms.reduce((sum, one) => sum + one.units, 0);
      return { key: arm.name, cells: [h('b', null, arm.name), pct(arm.share), int(arm.units), all ? pct(arm.units / all) : none, int(arm.decisions), int(arm.exposures)] };
    })),
  of.kinds.length ? of.kinds.map((kind, at) => h('div', { 'data-key': kind, class: off ? 'faint' : null }, h('h3', null, kind), lifts(of, at)))
    : nothing('No reward yet.', h('p', null, 'Send what a decision brought with its id: ', mono('{"event":"purchase","decision_id":"…"}'), ' to ', mono('POST /v1/events'), '.')));
}

export default {
  title: 'Experiments',
  enter(ctx) {
    let of = null;
    let failed = null;
    ctx.every(3000, async () => {
      try { of = await ask('experiments'); failed = null; } catch (error) { failed = error; }
    });
    return () => {
      if (failed && !of) return [head('Experiments'), trouble('The experiments cannot be read.', failed.message)];
      if (!of) return waiting();
      if (!of.release) return [head('Experiments'), noRelease(ctx.node.status)];
      return [
        head('Experiments', 'What this node alone has seen since it started: enough to find what is wrong early, not to decide. The lake has what all nodes saw.'),
        of.experiments.length ? of.experiments.map(told)
          : nothing('The running release has no experiment.', h('p', null, 'Add one to a placement: ', mono('[[experiment]]'), ' with a key, a unit and arms.')),
      ];
    };
  },
};
