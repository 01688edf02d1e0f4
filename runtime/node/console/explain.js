// How a decision came about, told the same wherever it is asked.

import { h } from './dom.js';
import { int, ms, none, num, pct } from './format.js';
import { badge, bar, mono, nothing, table } from './parts.js';

const WHYS = {
  no_row: 'no row', no_entity: 'nobody named', not_fetched: 'not fetched yet', unreachable: 'core unreachable', late: 'view is late', old: 'too old',
};

export function value(of) {
  if (of === null || of === undefined) return h('span', { class: 'faint' }, 'missing');
  if (typeof of === 'boolean') return of ? 'yes' : 'no';
  if (typeof of === 'number') return num(of, 6);
  if (Array.isArray(of)) return vector(of, of.length);
  if (typeof of === 'object') return 'ids' in of ? `${int(of.ids)} ids, kept as hashes` : vector(of.first, of.len);
  return String(of);
}

const vector = (numbers, len) =>
  h('span', { class: 'mono' }, `[${numbers.slice(0, 6).map((n) => num(n, 3)).join(', ')}${len > 6 ? `, … ${len} in all` : ''}]`);

/** The table of what was chosen; `of` tells it apart from others on the page. */
export function choices(list, payloads = false, of = '') {
  const best = Math.max(...list.map((choice) => Math.abs(choice.score ?? 0)), 1e-12);
  return table(`Choices${of}`, [{ name: 'Place', num: true }, { name: 'Choice' }, { name: 'Score' }, { name: 'Propensity', num: true }, ...(payloads ? [{ name: 'Payload' }] : [])],
    list.map((choice, at) => ({
      key: `${choice.slot ?? at}`,
      cells: [int((choice.slot ?? at) + 1), h('b', null, choice.id), choice.score == null ? none : bar(Math.abs(choice.score) / best, num(choice.score)),
        choice.pinned ? badge('pinned') : pct(choice.propensity, 1), ...(payloads ? [choice.payload === undefined ? none : mono(JSON.stringify(choice.payload))] : [])],
    })), 'Nothing was chosen.');
}

/** An explanation's tables. `chosen` are the ids in their order; `of` tells them apart from others on the page. */
export function explanation(how, chosen = [], of = '') {
  const rank = new Map(chosen.map((id, at) => [id, at]));
  const candidates = [...how.candidates].sort((a, b) =>
    (rank.get(a.id) ?? 1e9) - (rank.get(b.id) ?? 1e9) || (b.score ?? -Infinity) - (a.score ?? -Infinity));
  const best = Math.max(...candidates.map((one) => Math.abs(one.score ?? 0)), 1e-12);
  const fired = new Map();
  for (const { module, row, candidate } of how.rules) {
    const key = `${module} ${row}`;
    if (!fired.has(key)) fired.set(key, { module, row, candidates: [] });
    fired.get(key).candidates.push(candidate);
  }
  const names = (list) => `${list.slice(0, 4).join(', ')}${list.length > 4 ? ` and ${list.length - 4} more` : ''}`;
  return [
    h('h3', null, 'Who was asked'),
    table(`Modules that were asked${of}`, [{ name: 'Module' }, { name: 'Answer' }],
      how.rungs.map((rung, at) => ({ key: `${at}`, cells: [rung.module, rung.fault ? badge(rung.fault, 'bad') : badge('answered', 'good')] })),
      'No module: the placement\u2019s own order was the answer.'),
    h('h3', null, 'Rules that fired'),
    table(`Rules that fired${of}`, [{ name: 'Rules' }, { name: 'Row', num: true }, { name: 'For' }],
      [...fired].map(([key, { module, row, candidates }]) => ({ key, cells: [module, int(row + 1), names(candidates)] })), 'No row fired.'),
    h('h3', null, 'Candidates'),
    table(`Candidates${of}`, [{ name: 'Candidate' }, { name: 'Chosen' }, { name: 'Rules' }, { name: 'Boost', num: true }, { name: 'Score' }],
      candidates.slice(0, 50).map((one) => ({
        key: one.id, tone: one.eligible ? null : 'faint',
        cells: [one.id, rank.has(one.id) ? badge(`place ${rank.get(one.id) + 1}`, 'good') : none, one.eligible ? 'let through' : badge('kept out', 'warn'),
          one.boost === 1 ? none : `× ${num(one.boost)}`, one.score == null ? none : bar(Math.abs(one.score) / best, num(one.score))],
      }))),
    candidates.length > 50 && h('p', { class: 'says' }, `and ${int(candidates.length - 50)} more, with lower scores.`),
    how.limits?.length ? [h('h3', null, 'Limits that changed the answer'),
      table(`Limits${of}`, [{ name: 'Limit' }, { name: 'Kept out' }], how.limits.map((limit) => ({ key: limit.limit, cells: [limit.limit, names(limit.candidates)] })))] : null,
    how.shadows?.length ? [h('h3', null, 'What scorers beside would have chosen'),
      table(`Scorers beside${of}`, [{ name: 'Module' }, { name: 'Would choose' }, { name: 'Score', num: true }],
        how.shadows.map((one) => ({ key: one.module, cells: [one.module, one.fault ? badge(one.fault, 'bad') : one.candidate, num(one.score)] })))] : null,
    h('h3', null, 'Features as they were used'),
    how.features.length ? table(`Features${of}`, [{ name: 'Feature' }, { name: 'Of' }, { name: 'Value' }, { name: 'Age', num: true }, { name: 'Note' }],
      how.features.slice(0, 200).map((used, at) => ({
        key: `${at}`,
        cells: [mono(used.name), used.candidate ?? 'the request', value(used.value), used.age_ms == null ? none : ms(used.age_ms),
          [used.refused && badge('refused', 'bad'), used.defaulted && badge('default'), used.why && h('span', { class: 'faint' }, ` ${WHYS[used.why] ?? used.why}`)]],
      }))) : nothing('No feature: nothing that was asked reads one.'),
    how.features.length > 200 && h('p', { class: 'says' }, `and ${int(how.features.length - 200)} more.`),
  ];
}
