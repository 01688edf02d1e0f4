// The shell: which page is shown, whom the node is, and the form for a key. Owns the address and the pace of what all pages read.

import { ask, key, whenKeyIsWanted } from './api.js';
import { h, say, show } from './dom.js';
import { end, live, start } from './live.js';
import { badge, field, trouble, waiting } from './parts.js';
import overview from './page-overview.js';
import decisions from './page-decisions.js';
import releases from './page-releases.js';
import features from './page-features.js';
import rules from './page-rules.js';
import experiments from './page-experiments.js';
import bandits from './page-bandits.js';
import outbox from './page-outbox.js';
import playground from './page-playground.js';

const PAGES = { overview, decisions, playground, releases, features, rules, experiments, bandits, outbox };
const STATUS_EVERY_MS = 3000;

/** What all pages know. */
const node = { status: null, samples: [], taken: 0, reasons: [], failed: null };
let page = null;
let drawing = false;

const main = document.getElementById('main');

/** Draws the page soon, once however often it is asked. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!page) return;
    who();
    document.title = `${page.title} · ${node.status?.node ?? 'Selvedge'}`;
    const lost = node.failed && !node.failed.needsKey
      ? trouble('The node does not answer.', `${node.failed.message} What is shown is what it said last; it is asked again.`) : null;
    show(main, lost && h('div', { 'data-key': 'lost' }, lost), h('div', { class: 'page', 'data-key': `page-${page.name}` }, page.draw()));
  });
}

function who() {
  const { status } = node;
  const tones = { ready: 'good', degraded: 'warn', not_ready: 'bad' };
  const state = node.failed ? badge('no answer', 'bad') : status ? badge(status.ready.status.replace('_', ' '), tones[status.ready.status]) : null;
  show(document.getElementById('who'), h('b', null, status?.node ?? '…'), state);
}

function nav(current) {
  show(document.getElementById('nav'), Object.entries(PAGES).map(([name, { title }]) =>
    h('a', { href: `#/${name}`, 'aria-current': name === current ? 'page' : null, 'data-key': name }, title)));
}

/** What a page may do while it is shown; all of it ends when it is left. */
function context(name, args) {
  const ends = [];
  return {
    name, args, node, draw,
    on(type, told) { ends.push(live.on(type, told)); },
    /** Runs `work` now and every so often while the page can be seen. */
    every(msBetween, work) {
      let [over, timer] = [false, null];
      const turn = async (isFirst) => {
        if (isFirst || !document.hidden) { await work(); draw(); }
        if (!over) timer = setTimeout(turn, msBetween);
      };
      turn(true);
      ends.push(() => { over = true; clearTimeout(timer); });
    },
    leave() { ends.forEach((end) => end()); },
  };
}

let left = null;
let asked = false;
function go() {
  if (asked) return;
  const [name, ...args] = location.hash.replace(/^#\/?/, '').split('/').map((part) => {
    try { return decodeURIComponent(part); } catch { return part; }
  });
  const at = Object.hasOwn(PAGES, name) ? name : 'overview';
  left?.leave();
  left = context(at, args);
  const before = page;
  page = { name: `${at}/${args[0] ?? ''}`, title: PAGES[at].title, draw: () => waiting() };
  page.draw = PAGES[at].enter(left);
  nav(at);
  draw();
  if (before) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  document.querySelector('[aria-current=page]').scrollIntoView({ block: 'nearest', inline: 'center' });
}

/** To what the page says, past the menu. The address stays: what stands behind its # is the page. */
function skip(event) {
  event.preventDefault();
  main.focus();
}

async function status() {
  try {
    node.status = await ask('status');
    node.failed = null;
  } catch (failed) {
    node.failed = failed;
  }
  draw();
}

async function samples() {
  try {
    const told = await ask('samples');
    Object.assign(node, { samples: told.samples, taken: told.taken, reasons: told.reasons });
    draw();
  } catch { /* The status says what is wrong. */ }
}

function askForKey(failed) {
  asked = true;
  left?.leave();
  page = null;
  nav(null);
  const said = failed.status === 403 || key.get() ? trouble('That key does not open the console.', failed.message) : null;
  show(main, h('div', { class: 'page narrow', 'data-key': 'key' },
    h('h1', null, 'This node asks for a key'),
    h('p', null, 'A server key with the scope admin opens the console. It stays in this tab and goes to this node only.'),
    said,
    h('form', { class: 'stack', onsubmit: (event) => {
      event.preventDefault();
      key.set(event.target.querySelector('input').value.trim());
      begin();
    } },
    field('Key', h('input', { id: 'key', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true }),
      'Made on the node\u2019s machine: selvedge keys create NAME --scope admin'),
    h('button', { class: 'main', type: 'submit' }, 'Open'))));
  document.getElementById('key').focus();
}

/** From the first question on, or with another key. */
function begin() {
  asked = false;
  go();
  if (document.hidden) return;
  start();
  status();
}

whenKeyIsWanted((failed) => { if (!asked) askForKey(failed); });

live.on('sample', (sample) => {
  node.samples.push(sample);
  if (node.samples.length > 600) node.samples.shift();
  draw();
});
live.on('opened', samples);
live.on('state', (state) => {
  if (state !== 'waiting') return;
  say('The node stopped telling; it is asked again.');
  samples();
});

addEventListener('hashchange', go);
document.querySelector('.skip').addEventListener('click', skip);
// Browsers open few connections to one node: a page that nobody sees leaves its own to others.
document.addEventListener('visibilitychange', () => {
  if (asked) return;
  if (document.hidden) return end();
  status();
  start();
});
begin();
(async () => {
  for (;;) {
    await new Promise((done) => setTimeout(done, STATUS_EVERY_MS));
    if (document.hidden || asked) continue;
    await status();
    // Where the node has no place for another stream.
    if (live.state === 'waiting') await samples();
  }
})();
