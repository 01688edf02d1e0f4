// Decisions as they are made, and one of them in full.

import { ask } from './api.js';
import { h } from './dom.js';
import { choices, explanation } from './explain.js';
import { clock, day, int, none, plural, short } from './format.js';
import { live } from './live.js';
import { badge, card, field, head, mono, noRelease, nothing, reason, select, table, tile, tiles, trouble, waiting } from './parts.js';
import { store } from './store.js';

/** Decisions that are shown, and that are kept for filters. */
const MOST = 100;
const MOST_KEPT = 1000;
/** How often it is asked again what could not be told. */
const AGAIN_MS = 3000;

const find = () => {
  const input = h('input', { id: 'decision-id', type: 'search', placeholder: 'Paste a decision id', autocomplete: 'off', spellcheck: 'false', required: true });
  return h('form', { class: 'find', role: 'search', 'data-key': 'find', onsubmit: (event) => {
    event.preventDefault();
    const id = event.target.querySelector('input').value.trim();
    if (id) location.hash = `#/decisions/${encodeURIComponent(id)}`;
  } }, h('label', { for: 'decision-id', class: 'sr' }, 'Decision id'), input, h('button', { type: 'submit' }, 'Explain'));
};

function list(ctx) {
  let lines = null;
  let failed = null;
  let passed = 0;
  /** What came since it was paused; none while it goes on. */
  let held = null;
  const filter = { placement: '', reason: '', whom: '' };
  /** Some with others, each once, the newest first: ids are in the order of time. */
  const together = (some, others) => {
    const all = new Map([...some, ...others].map((line) => [line.id, line]));
    return [...all.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, MOST_KEPT);
  };
  const take = (told) => {
    if (!held) { lines = together(lines ?? [], told); return; }
    const shown = new Set(lines.map((line) => line.id));
    held = together(held, told.filter((line) => !shown.has(line.id)));
  };
  const load = async () => {
    try {
      take((await ask('decisions')).decisions);
      failed = null;
    } catch (error) { failed = error; }
    ctx.draw();
  };
  ctx.on('opened', load);
  // Without a stream, and until the first answer.
  ctx.every(AGAIN_MS, async () => { if (!lines || live.state === 'waiting') await load(); });
  ctx.on('decisions', (told) => {
    if (!lines) return;
    take(told.decisions);
    passed += told.passed;
    ctx.draw();
  });
  const set = (name) => (event) => { filter[name] = event.target.value; ctx.draw(); };
  return () => {
    if (failed && !lines) return [head('Live decisions', null, find()), trouble('The decisions cannot be read.', `${failed.message} It is asked again.`)];
    if (!lines) return waiting();
    // The chosen one is there, also when no decision of it is.
    const placements = [...new Set([...lines.map((line) => line.placement), ...(filter.placement ? [filter.placement] : [])])].sort();
    const wanted = lines.filter((line) => (!filter.placement || line.placement === filter.placement) && (!filter.reason || line.reason === filter.reason)
      && (!filter.whom || line.subject?.includes(filter.whom) || line.session?.includes(filter.whom)));
    const pause = h('button', { type: 'button', class: held ? 'main' : null, onclick: () => {
      const told = held;
      held = held ? null : [];
      if (told) take(told);
      ctx.draw();
    } }, held ? `Go on${held.length ? ` (${held.length} new)` : ''}` : 'Pause');
    const { status } = ctx.node;
    return [
      head('Live decisions', 'The newest first; each tells how it came about. A node under load shows some of them.', find()),
      h('div', { class: 'filters' },
        field('Placement', select('by-placement', filter.placement, [['', 'all'], ...placements], set('placement'))),
        field('Reason', select('by-reason', filter.reason, [['', 'all'], ...ctx.node.reasons], set('reason'))),
        field('Subject or session', h('input', { id: 'by-whom', type: 'search', value: filter.whom, autocomplete: 'off', oninput: set('whom') })),
        pause),
      live.state === 'waiting' && h('p', { class: 'says' }, live.why ? `Not as they happen: ${live.why}. ` : 'The node stopped telling. ', `It is asked every ${AGAIN_MS / 1000} s.`),
      !lines.length && status && !status.releases.active ? noRelease(status) : card(null, {},
        table('Decisions, the newest first', [{ name: 'Time' }, { name: 'Placement' }, { name: 'Chosen' }, { name: 'Reason' }, { name: 'Subject' }, { name: 'Arm' }],
          wanted.slice(0, MOST).map((line) => ({
            key: line.id,
            cells: [h('a', { href: `#/decisions/${line.id}`, 'aria-label': `Explain the decision of ${clock(line.time, true)}` }, h('time', { datetime: line.time }, clock(line.time, true))), line.placement,
              line.choices.length ? [h('b', null, line.choices[0]), line.choices.length > 1 && h('span', { class: 'faint' }, `, ${line.choices.slice(1).join(', ')}${line.more_choices ? ` +${line.more_choices}` : ''}`)] : none,
              [reason(line.reason), line.fault && h('span', { class: 'faint' }, ` ${line.fault}`)], line.subject ?? line.session ?? none,
              line.arm ?? none],
          })),
          lines.length ? 'None of the last decisions is like that: choose other filters.'
            : 'No decision yet. Ask for one by POST /v1/decide; what the playground decides leaves no record and is not here.'),
        passed > 0 && h('p', { class: 'says' }, `${plural(passed, 'decision')} came too fast to be shown.`)),
    ];
  };
}

function again(told) {
  const { decision, how } = told;
  const context = Object.fromEntries((how?.features ?? []).filter((used) => used.candidate === null && used.name.startsWith('context.'))
    .map((used) => [used.name.slice(8), used.value]));
  store.set('selvedge-playground', JSON.stringify({
    placement: decision.placement, subject: decision.subject ?? '', session: decision.session ?? '', context, slots: decision.slots,
    candidates: (how?.candidates ?? []).map((one) => one.id),
  }));
  location.hash = '#/playground';
}

function one(ctx, id) {
  let told = null;
  let failed = null;
  // Again as long as there is none; that it is not here, or is no id, is an answer.
  const isAnswered = () => told || failed?.status === 404 || failed?.status === 400;
  ctx.every(AGAIN_MS, async () => {
    if (isAnswered()) return;
    try { told = await ask(`decisions/${encodeURIComponent(id)}`); failed = null; } catch (error) { failed = error; }
  });
  return () => {
    const back = h('a', { href: '#/decisions', class: 'back' }, '← All decisions');
    if (failed) return [back, head('Decision', null, find()), trouble(failed.status === 404 ? 'It is not here.' : 'It cannot be told.', failed.message)];
    if (!told) return [back, waiting()];
    const { decision } = told;
    const whole = told.same === true ? badge('decided again: the same bytes', 'good') : told.same === false ? badge('decided again: different', 'bad') : badge('not decided again', 'plain');
    return [
      back,
      head('Decision', mono(decision.id), h('button', { type: 'button', onclick: () => again(told) }, 'Try it in the playground')),
      tiles(
        tile('Placement', decision.placement, day(decision.time)),
        tile('Why', reason(decision.reason), decision.arm ? `${decision.experiment}: arm ${decision.arm}` : 'no experiment'),
        tile('For', decision.subject ?? 'nobody named', decision.session ? `session ${decision.session}` : 'no session'),
        tile('Release', mono(short(decision.release), decision.release), told.role ?? 'not on this node any more'),
        tile('Largest lag', `${int(decision.max_lag_ms)} ms`, 'of the views it read'),
      ),
      card('The answer', { key: 'answer', says: `${plural(decision.candidates, 'candidate')} for ${plural(decision.slots, 'place')}; found in ${told.found === 'memory' ? 'memory' : 'the outbox on disk'}.` },
        choices(decision.choices),
        decision.faults.length ? [h('h3', null, 'Faults'), table('Faults', [{ name: 'Call' }, { name: 'Module' }, { name: 'Fault' }],
          decision.faults.map((fault) => ({ key: fault.call, cells: [fault.call, fault.module, badge(fault.fault, 'bad')] })))] : null),
      card('How it came about', { key: 'how', actions: whole },
        told.how ? explanation(told.how, decision.choices.map((choice) => choice.id))
          : nothing(`It could not be decided again: ${told.why}.`, decision.has_inputs ? null
            : h('p', null, 'Say ', mono('record = { inputs = 1.0 }'), ' in the placement to record what all its decisions go by.'))),
      card('What it brought', { key: 'brought' },
        table('Events that name it', [{ name: 'Event' }, { name: 'Received' }, { name: 'Item' }, { name: 'Properties' }],
          told.brought.map((event, at) => ({ key: `${at}`, cells: [event.event, day(event.received_us / 1000), event.item, mono(event.properties)] })),
          'No event that names it came to this node since it started.')),
    ];
  };
}

export default {
  title: 'Live decisions',
  enter: (ctx) => (ctx.args[0] ? one(ctx, ctx.args[0]) : list(ctx)),
};
