// What pages are made of: tiles, tables, states, commands. Owns how each looks to who sees it and who hears it.

import { h, s, say } from './dom.js';
import { none } from './format.js';

/** A page's head: its name, one sentence, and what can be done. */
export const head = (title, says, ...actions) =>
  h('header', { class: 'head' }, h('div', null, h('h1', null, title), says && h('p', null, says)), actions.length ? h('div', { class: 'actions' }, actions) : null);

export const card = (title, { says, key, actions } = {}, ...body) =>
  h('section', { class: 'card', 'data-key': key },
    title && h('header', null, h('h2', null, title), actions),
    says && h('p', { class: 'says' }, says), body);

export const tiles = (...all) => h('dl', { class: 'tiles' }, all);

/** One number with its name; `tone` is good, warn or bad, which words in `more` say too. */
export const tile = (name, value, more, tone) =>
  h('div', { class: `tile ${tone ?? ''}` }, h('dt', null, name), h('dd', null, h('b', null, value ?? none), more && h('span', null, more)));

const SIGNS = { good: '✓', warn: '!', bad: '✕', plain: '' };
/** A state in a word. */
export const badge = (text, tone = 'plain') =>
  h('span', { class: `badge ${tone}` }, SIGNS[tone] && h('i', { 'aria-hidden': 'true' }, SIGNS[tone]), text);

const REASONS = { SCORED: 'blue', ASSIGNED: 'violet', EXPLORED: 'teal', RULED: 'amber', FALLBACK: 'bad', EMPTY: 'muted' };
export const reason = (name) => h('span', { class: `reason ${REASONS[name] ?? 'muted'}` }, name);
export const reasonColour = (name) => REASONS[name] ?? 'muted';

/** A real table; `columns` are `{ name, num }`, rows `{ key, cells, tone }`. */
export function table(caption, columns, rows, empty) {
  if (!rows.length) return nothing(empty ?? 'Nothing yet.');
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', null,
      h('caption', { class: 'sr' }, caption),
      h('thead', null, h('tr', null, columns.map(({ name, num }) =>
        h('th', { scope: 'col', class: num ? 'num' : null }, name)))),
      h('tbody', null, rows.map(({ key, cells, tone }) =>
        h('tr', { 'data-key': key, class: tone }, cells.map((cell, at) =>
          h(at === 0 ? 'th' : 'td', { scope: at === 0 ? 'row' : null, class: columns[at].num ? 'num' : null }, cell ?? none)))))));
}

/** An empty state: what is not there, and what to do. */
export const nothing = (text, ...more) => h('div', { class: 'nothing' }, h('p', null, text), more);

/** What every page says that shows a release, where none runs. */
export function noRelease(status) {
  const page = h('a', { href: '#/releases' }, 'releases');
  return nothing('No release runs here yet.', status?.link.kind === 'local' ? h('p', null, 'The folder cannot be packed: the page of ', page, ' says why. What is saved there runs.')
    : h('p', null, 'Deploy one: ', mono('selvedge deploy FOLDER --to CHANNEL --key FILE'), '. The page of ', page, ' has the command for this node, and says what stands in the way.'));
}

/** What failed and why. */
export const trouble = (title, why, ...more) =>
  h('div', { class: 'trouble' }, h('i', { 'aria-hidden': 'true' }, '!'), h('div', null, h('b', null, title), why && h('p', null, why), more));

export const waiting = () => h('p', { class: 'waiting' }, 'Asking the node…');

/** A text to copy. */
export const command = (text, label = 'Copy the command') =>
  h('div', { class: 'command' }, h('code', null, text), h('button', {
    type: 'button', 'aria-label': label, onclick: async ({ currentTarget, target }) => {
      const button = currentTarget ?? target;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = 'Copied';
        say('Copied.');
      } catch {
        button.textContent = 'Select it';
        getSelection().selectAllChildren(button.previousSibling);
      }
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    },
  }, 'Copy'));

export const mono = (text, title) => h('code', { class: 'mono', title }, text);

let fields = 0;
/** A field with its name. `make` gives the control for its id. */
export function field(name, control, hint) {
  const id = control.id || `field-${fields += 1}`;
  control.id = id;
  if (hint) control.setAttribute('aria-describedby', `${id}-hint`);
  return h('div', { class: 'field' }, h('label', { for: id }, name), control, hint && h('p', { class: 'hint', id: `${id}-hint` }, hint));
}

export const select = (id, value, options, onchange) =>
  h('select', { id, value, onchange }, options.map((option) => {
    const [of, name] = Array.isArray(option) ? option : [option, option];
    // By its value: it stays the chosen one when another comes before it.
    return h('option', { value: of, 'data-key': of }, name);
  }));

/** A share as a bar beside its number. */
export const bar = (share, text) =>
  h('span', { class: 'bar' }, h('span', { class: 'fill', 'aria-hidden': 'true', style: { '--share': `${Math.min(100, Math.max(0, share * 100))}%` } }), h('span', null, text));

/** An interval on a scale from `low` to `high`, with a mark at `zero`. */
export function interval({ from, to, at }, [low, high], zero, label) {
  const x = (value) => 2 + 156 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  return s('svg', { class: 'interval', viewBox: '0 0 160 16', width: 160, height: 16, role: 'img', 'aria-label': label },
    zero != null && s('line', { class: 'zero', x1: x(zero), x2: x(zero), y1: 0, y2: 16 }),
    s('line', { class: 'reach', x1: x(from), x2: x(to), y1: 8, y2: 8 }),
    s('line', { class: 'end', x1: x(from), x2: x(from), y1: 4, y2: 12 }),
    s('line', { class: 'end', x1: x(to), x2: x(to), y1: 4, y2: 12 }),
    s('circle', { class: 'at', cx: x(at), cy: 8, r: 3.5 }));
}
