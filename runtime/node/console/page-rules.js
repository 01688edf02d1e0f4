// The rules as people wrote them, and which of their rows fire.

import { ask } from './api.js';
import { h } from './dom.js';
import { int, none, pct, plural, short } from './format.js';
import { badge, bar, card, head, mono, noRelease, nothing, table, trouble, waiting } from './parts.js';

function rows(of, fired) {
  const most = Math.max(...of.rows.map((_, at) => fired.rows[at] ?? 0), 1);
  const columns = [{ name: 'Row', num: true }, ...(of.is_counted ? [{ name: 'Fired' }] : []),
    ...of.inputs.map((name) => ({ name })), ...of.outputs.map((name) => ({ name: `→ ${name}` })), ...(of.rows.some((row) => row.note) ? [{ name: 'Note' }] : [])];
  return table(of.name, columns, of.rows.map((row, at) => {
    const count = fired.rows[at] ?? 0;
    return {
      key: `${at}`, tone: of.is_counted && fired.asked > 0 && count === 0 ? 'faint' : null,
      cells: [int(at + 1), ...(of.is_counted ? [bar(count / most, count ? `${int(count)} · ${pct(count / fired.asked)}` : 'never')] : []),
        ...row.cells.map((cell, column) => (cell === '' || cell === '-' ? h('span', { class: 'faint' }, column < of.inputs.length ? 'any' : none) : mono(cell))), ...(columns.at(-1).name === 'Note' ? [row.note || ''] : [])],
    };
  }));
}

function told({ module, kind, placements, tables, fired }) {
  const known = fired.rows.reduce((sum, n) => sum + n, 0) + fired.beyond;
  const counted = tables.some((one) => one.is_counted);
  return card(module, {
    key: module, actions: badge(kind ?? 'module'),
    says: `Asked by ${placements.join(', ')}, ${fired.asked ? `for ${plural(fired.asked, 'candidate')} so far; a row fired for ${pct(known / fired.asked)} of them.` : 'for no candidate yet.'}`,
  },
  tables.map((one) => [tables.length > 1 && h('h3', null, one.name), rows(one, fired)]),
  !tables.length && nothing('This module does not carry its tables: it was built from code, or is older than this.'),
  !counted && known > 0 && table(`Rows of ${module} that fired`, [{ name: 'Row', num: true }, { name: 'Fired' }],
    fired.rows.map((count, at) => ({ key: `${at}`, cells: [int(at + 1), bar(count / Math.max(...fired.rows), int(count))] })).filter((_, at) => fired.rows[at] > 0)),
  fired.beyond > 0 && h('p', { class: 'says' }, `${int(fired.beyond)} more by rows that are not told apart.`));
}

export default {
  title: 'Rules',
  enter(ctx) {
    let of = null;
    let failed = null;
    ctx.every(2000, async () => {
      try { of = await ask('rules'); failed = null; } catch (error) { failed = error; }
    });
    return () => {
      if (failed && !of) return [head('Rules'), trouble('The rules cannot be read.', failed.message)];
      if (!of) return waiting();
      if (!of.release) return [head('Rules'), noRelease(ctx.node.status)];
      return [
        head('Rules', ['The rules of ', mono(short(of.release), of.release), ' as they were written, and for how many candidates each row fired on this node since it began to run here.']),
        of.modules.length ? of.modules.map(told)
          : nothing('No placement of the running release has rules.', h('p', null, 'Put a table into ', mono('modules/NAME.csv'), ' and name it in a placement: ', mono('rules = ["NAME"]'), '.')),
      ];
    };
  },
};
