// What would be decided: for a shopper and a context of one's own, by the release that runs and by the others that are here.

import { ask } from './api.js';
import { h, say } from './dom.js';
import { choices, explanation } from './explain.js';
import { plural, short } from './format.js';
import { badge, card, field, head, mono, noRelease, nothing, reason, select, tile, tiles, trouble, waiting } from './parts.js';
import { store } from './store.js';

const ROLES = { running: 'Running', canary: 'Canary', previous: 'The one before' };
const KEPT = 'selvedge-playground';

const read = () => {
  try { return JSON.parse(store.get(KEPT)) ?? {}; } catch { return {}; }
};

function typed(kind, text) {
  if (text === '') return undefined;
  if (kind === 'number') return Number(text);
  if (kind === 'flag') return text === 'true';
  return text;
}

function control(id, kind, value, onchange) {
  if (kind === 'flag') return select(id, value ?? '', [['', 'not said'], ['true', 'yes'], ['false', 'no']], onchange);
  return h('input', { id, type: kind === 'number' ? 'number' : 'text', step: kind === 'number' ? 'any' : null, value: value ?? '', autocomplete: 'off', spellcheck: 'false', onchange });
}

function side({ of, answer, error }, first) {
  const title = [`${ROLES[of.role]} `, mono(short(of.release), of.release)];
  if (error?.code === 'unknown_placement') return card(title, { key: of.role }, nothing('This release does not have that placement.'));
  if (error) return card(title, { key: of.role }, trouble('It would be refused.', `${error.message}${error.field ? ` (${error.field})` : ''}`));
  const ids = (one) => one?.choices.map((choice) => choice.id).join('\n');
  const same = first && first !== answer && ids(first) === ids(answer);
  return card(title, { key: of.role, actions: first === answer ? null : same ? badge('the same choices', 'good') : badge('other choices', 'warn') },
    tiles(tile('Why', reason(answer.reason), answer.arm ? `${answer.experiment ?? ''} arm ${answer.arm}` : answer.fault ? `fault ${answer.fault}` : 'no experiment'),
      tile('Lag', `${answer.max_lag_ms} ms`, of.name)),
    choices(answer.choices, true, `, ${of.role}`),
    Object.keys(answer.values).length ? h('p', { class: 'says' }, 'Values: ', mono(JSON.stringify(answer.values))) : null,
    answer.explanation && h('details', { 'data-key': 'how' }, h('summary', null, 'How it came about'), explanation(answer.explanation, answer.choices.map((choice) => choice.id), `, ${of.role}`)));
}

export default {
  title: 'Playground',
  enter(ctx) {
    let release = null;
    let failed = null;
    let answers = null;
    let wrong = null;
    let busy = false;
    const form = { placement: '', subject: '', session: '', context: {}, candidates: '', slots: '', ...read() };
    if (Array.isArray(form.candidates)) form.candidates = form.candidates.join('\n');
    const keep = () => store.set(KEPT, JSON.stringify(form));
    const placement = () => release.placements?.find((one) => one.placement === form.placement) ?? release.placements?.[0];
    // Again and again: another release may have other placements.
    ctx.every(5000, async () => {
      try { release = await ask('release'); failed = null; } catch (error) { failed = error; }
    });
    const body = () => {
      const of = placement();
      const context = Object.fromEntries(of.context.map(({ name, kind }) => [name, typed(kind, String(form.context[name] ?? ''))]).filter(([, value]) => value !== undefined));
      const candidates = String(form.candidates).split(/[\n,]/).map((id) => id.trim()).filter(Boolean);
      return {
        placement: of.placement, ...(form.subject && { subject: form.subject }), ...(form.session && { session: form.session }), context,
        ...(candidates.length && { candidates }), ...(form.slots !== '' && { slots: Number(form.slots) }),
      };
    };
    const decide = async (event) => {
      event.preventDefault();
      if (busy) return;
      busy = true;
      ctx.draw();
      try {
        answers = (await ask('decide', { body: body() })).answers;
        wrong = null;
        const made = answers.find((one) => one.answer)?.answer;
        say(made ? `Decided: ${made.choices.map((choice) => choice.id).join(', ') || 'nothing'}, by ${made.reason}.` : 'It would be refused.');
      } catch (error) {
        wrong = error;
        say(`It cannot be decided. ${error.message}`);
      }
      busy = false;
      ctx.draw();
    };
    const set = (name) => (event) => { form[name] = event.target.value; keep(); };
    return () => {
      if (failed && !release) return [head('Playground'), trouble('The release cannot be read.', `${failed.message} It is asked again.`)];
      if (!release) return waiting();
      if (!release.placements) return [head('Playground'), noRelease(ctx.node.status)];
      if (!release.placements.length) return [head('Playground'), nothing('The running release has no placement: there is nothing to ask.')];
      const of = placement();
      const first = answers?.find((one) => one.answer)?.answer;
      return [
        head('Playground', 'Decides as for a shopper, and leaves no trace: no record, nothing counted, nothing learned.'),
        card('Ask', { key: 'ask' }, h('form', { class: 'ask', onsubmit: decide },
          h('div', { class: 'filters' },
            field('Placement', select('placement', of.placement, release.placements.map((one) => one.placement), (event) => { form.placement = event.target.value; form.candidates = ''; answers = null; keep(); ctx.draw(); })),
            field(of.needs_subject ? 'Subject' : 'Subject, if any', h('input', { id: 'subject', type: 'text', value: form.subject, required: of.needs_subject, autocomplete: 'off', spellcheck: 'false', onchange: set('subject') })),
            field(of.needs_session ? 'Session' : 'Session, if any', h('input', { id: 'session', type: 'text', value: form.session, required: of.needs_session, autocomplete: 'off', spellcheck: 'false', onchange: set('session') })),
            field('Places', h('input', { id: 'slots', type: 'number', min: 1, max: 1000, value: form.slots, placeholder: String(of.slots), onchange: set('slots') }))),
          of.context.length ? h('fieldset', { 'data-key': of.placement }, h('legend', null, 'Context'), h('div', { class: 'filters' },
            of.context.map(({ name, kind }) => field(`${name} (${kind === 'symbol' ? 'text' : kind})`, control(`context-${of.placement}-${name}`, kind, form.context[name], (event) => { form.context[name] = event.target.value; keep(); }))))) : null,
          field(of.candidates.from === 'request' ? 'Candidates' : 'Candidates, if not all',
            h('textarea', { id: 'candidates', rows: 3, value: form.candidates, required: of.candidates.from === 'request', spellcheck: 'false', onchange: set('candidates') }),
            of.candidates.from === 'actions' ? `Actions: ${of.actions.slice(0, 8).join(', ')}${of.actions.length > 8 ? ` and ${plural(of.actions.length - 8, 'more')}` : ''}` : 'Ids, one a line or separated by commas'),
          h('button', { type: 'submit', class: 'main', 'aria-disabled': busy && 'true' }, busy ? 'Deciding…' : 'Decide'))),
        wrong && trouble('It cannot be decided.', `${wrong.message}${wrong.field ? ` (${wrong.field})` : ''}`),
        h('div', { class: 'two', 'data-key': 'answers' }, answers?.map((one) => side(one, first))),
        answers?.length === 1 && h('p', { class: 'says' }, 'Only one release is here: after the next swap, or beside a canary, the answers stand side by side.'),
      ];
    };
  },
};
