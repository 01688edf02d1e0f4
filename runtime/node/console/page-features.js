// What the node knows: its views with their lag, and what one of them knows of an entity.

import { ask } from './api.js';
import { h, say } from './dom.js';
import { value } from './explain.js';
import { bytes, day, int, ms, none, plural, words } from './format.js';
import { badge, card, field, head, mono, noRelease, nothing, select, table, tile, tiles, trouble, waiting } from './parts.js';

const ABSENT = {
  no_row: 'There is no row of it. Aggregates of nothing are shown where the view has some.',
  not_fetched: 'The view is on-demand and does not hold it; it is being fetched: look again.',
  unreachable: 'The view is on-demand, does not hold it, and the core cannot be reached.',
};
const CONDITIONS = { live: 'good', catching_up: 'warn', starting: 'warn', waiting: 'bad' };

const views = (status) => table('Views', [{ name: 'View' }, { name: 'State' }, { name: 'Entities', num: true }, { name: 'Lag', num: true }, { name: 'Memory', num: true }, { name: 'Applied', num: true }, { name: 'Note' }],
  status.features.map((view) => ({
    key: `${view.view}-${view.on_demand}`,
    cells: [[h('b', null, view.view), view.on_demand && h('span', { class: 'faint' }, ' on demand')], badge(words(view.condition), CONDITIONS[view.condition]), int(view.entities),
      view.lag_ms == null ? badge('never current', 'bad') : ms(view.lag_ms), bytes(view.bytes), view.last_seq ? `${int(view.applied_seq)} of ${int(view.last_seq)}` : none, view.detail || none],
  })), 'The release has no view: decisions go by what requests say.');

export default {
  title: 'Features',
  enter(ctx) {
    let release = null;
    let failed = null;
    let found = null;
    let wrong = null;
    let [view, ...names] = ctx.args;
    const look = async () => {
      try {
        found = await ask(`views/${[view, ...names].map(encodeURIComponent).join('/')}`);
        wrong = null;
      } catch (error) { wrong = error; found = null; }
      ctx.draw();
    };
    const tell = () => say(wrong ? `It cannot be looked at. ${wrong.message}` : found.absent ? 'There is no row of it.' : `${plural(found.features.length, 'feature')}.`);
    if (names.length) look();
    ctx.every(5000, async () => {
      // Again and again: another release may have other views.
      try { release = await ask('release'); failed = null; } catch (error) { failed = error; }
      view ??= release?.views?.[0]?.view;
      if (wrong && (wrong.status === 0 || wrong.status >= 500)) await look();
    });
    return () => {
      const { status } = ctx.node;
      if (failed && !release) return [head('Features'), trouble('The release cannot be read.', `${failed.message} It is asked again.`)];
      if (!status || !release) return waiting();
      if (!release.views) return [head('Features'), noRelease(ctx.node.status)];
      const known = release.views.find((one) => one.view === view) ?? release.views[0];
      return [
        head('Features', 'What decisions are made on: how late each view is, and what it knows of whom.'),
        card('Views', { key: 'views', says: 'Lag is the time since a view was last proven current; a value can be old in a view that is not late.' }, views(status)),
        card('Look at an entity', { key: 'look', says: release.hashes_ids ? 'Ids of people are hashed as they come in: write them as you know them.' : null },
          known ? h('form', { class: 'filters', onsubmit: (event) => {
            event.preventDefault();
            const form = event.target;
            view = form.querySelector('select').value;
            names = [...form.querySelectorAll('input')].map((input) => input.value.trim());
            if (names.every(Boolean)) {
              history.replaceState(null, '', `#/features/${[view, ...names].map(encodeURIComponent).join('/')}`);
              look().then(tell);
            }
          } },
            field('View', select('view', known.view, release.views.map((one) => one.view), (event) => { view = event.target.value; names = []; found = null; wrong = null; ctx.draw(); })),
            known.by.map((by, at) => h('div', { 'data-key': `${known.view}-${by}` }, field(by, h('input', { id: `of-${known.view}-${at}`, type: 'text', value: names[at] ?? '', required: true, autocomplete: 'off', spellcheck: 'false' })))),
            h('button', { type: 'submit', class: 'main' }, 'Look')) : nothing('The release has no view: there is nobody to look at.'),
          h('div', { class: 'found', 'data-key': 'found' },
            wrong && trouble('It cannot be looked at.', wrong.message),
            found && [
              h('h3', null, found.entity.join(' · ')),
              found.absent ? nothing(ABSENT[found.absent] ?? words(found.absent)) : tiles(tile('Last event', found.time ? day(found.time) : none, found.age_ms == null ? null : `${ms(found.age_ms)} old`), tile('Lag of the view', ms(found.lag_ms), 'since it was proven current')),
              found.features.length ? table(`Features of ${found.entity.join(' and ')}`, [{ name: 'Feature' }, { name: 'Type' }, { name: 'Value' }],
                found.features.map((one) => ({ key: one.name, cells: [mono(one.name), one.kind, one.pii ? badge('a person\u2019s own: not shown') : value(one.value)] }))) : null,
            ])),
      ];
    };
  },
};
