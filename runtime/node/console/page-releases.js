// Who runs what, and how it could be otherwise. A channel is moved by the operator's key: a node that has it is asked to, after a
// question; for all others there is the command.

import { ask } from './api.js';
import { confirmed } from './confirm.js';
import { h } from './dom.js';
import { ago, day, int, none, pct, plural, short, us, words } from './format.js';
import { badge, card, command, head, mono, nothing, table, tile, tiles, trouble, waiting } from './parts.js';

const labels = (of) => Object.entries(of ?? {}).map(([name, value]) => `${name}=${value}`).join(', ') || none;

/** The table of nodes, as the core knows them; with a folder as link there is one. */
export function nodesTable({ kind, nodes, problem }, status) {
  const running = status.releases.active;
  if (kind === 'local') {
    return table('Nodes', [{ name: 'Node' }, { name: 'Runs' }, { name: 'Name' }, { name: 'Since' }],
      running ? [{ key: status.node, cells: [status.node, mono(short(running.release), running.release), running.name, ago(running.since_us / 1000)] }] : [],
      'No release runs: the folder cannot be packed; the reason stands above.');
  }
  return [
    problem && trouble('The core does not tell which node runs what.', `${problem}. This node goes on deciding.`),
    table('Nodes', [{ name: 'Node' }, { name: 'Channel' }, { name: 'Runs' }, { name: 'Name' }, { name: 'Canary' }, { name: 'State' }, { name: 'Reported', num: true }],
      nodes.map((node) => ({
        key: node.node,
        cells: [[h('b', null, node.node), node.node === status.node && h('span', { class: 'faint' }, ' this one')], `${node.channel} · ${node.counter}`,
          node.release ? mono(short(node.release), node.release) : none, node.name,
          node.canary ? mono(short(node.canary), node.canary) : node.canary_dropped ? badge(`dropped ${short(node.canary_dropped.release)}`, 'warn') : none,
          node.refused ? badge(`refuses: ${words(node.refused.code)}`, 'bad') : Date.now() - node.time_us / 1000 > 30000 ? badge('silent', 'warn') : badge('well', 'good'),
          ago(node.time_us / 1000)],
      })), problem ? 'Nothing is known of other nodes now.' : 'No node has reported yet. Each does every few seconds.'),
  ];
}

function compare({ samples }) {
  const both = samples.filter((sample) => sample.canary);
  const sum = (part, of) => both.reduce((all, sample) => all + sample[part][of], 0);
  const worst = (part) => Math.max(0, ...both.map((sample) => sample[part].p99_us));
  const row = (name, part) => {
    const decisions = sum(part, 'decisions');
    return { key: part, cells: [name, int(decisions), pct(decisions ? sum(part, 'faults') / decisions : 0, 2), pct(decisions ? sum(part, 'fallbacks') / decisions : 0, 2), us(worst(part))] };
  };
  return table('The canary beside what runs', [{ name: 'Release' }, { name: 'Decisions', num: true }, { name: 'Faults', num: true }, { name: 'Fallbacks', num: true }, { name: 'Worst p99', num: true }],
    both.length ? [row('Running', 'running'), row('Canary', 'canary')] : [], 'No decision since the canary began.');
}

/** What releases are called, as far as somebody told. */
function names({ nodes }, { active, previous, canary }) {
  const known = [...nodes, active, previous, canary].filter((one) => one?.release);
  return new Map(known.map((one) => [one.release, one.name]));
}

/** Moves the channel where the operator's key is: the buttons, and what came of the last. */
function mover(ctx, look) {
  let [moving, said] = [false, null];
  async function move({ pointer, wanted, to, names, ...question }) {
    if (moving) return;
    const called = (release) => [mono(short(release), release), names.get(release) && ` ${names.get(release)}`];
    const canary = pointer.canary && [h('br'), 'and ', called(pointer.canary.release), ` for ${pointer.canary.share_bp / 100} %`];
    const facts = [['Channel', pointer.channel], ['From', [called(pointer.release), canary]], ['To', called(to)]];
    if (!await confirmed({ ...question, facts })) return;
    [moving, said] = [true, null];
    ctx.draw();
    let told;
    try {
      const now = await ask('channel', { body: { ...wanted, seen: pointer.counter ?? 0 } });
      told = h('p', null, badge('moved', 'good'), ` ${now.channel} points to ${short(now.release)} now, counter ${now.counter}. Nodes swap when they have it ready.`);
    } catch (failed) {
      told = trouble('The channel was not moved.', failed.message);
    }
    await look();
    [moving, said] = [false, told];
    ctx.draw();
    // What was pressed may be gone with what it was for.
    requestAnimationFrame(() => { if (document.activeElement === document.body) document.getElementById('moved')?.focus(); });
  }
  const button = (name, question, { key = name, main } = {}) => h('button', {
    type: 'button', class: main && 'main', 'data-key': key, 'aria-label': key === name ? null : `${name}: ${short(key)}`,
    'aria-disabled': moving && 'true', onclick: () => move(question),
  }, name);
  function buttons(pointer, earlier, names) {
    const all = { pointer, names };
    const promote = () => button('Promote canary', { ...all, wanted: { move: 'promote' }, to: pointer.canary.release, title: 'Promote the canary?',
      says: 'It decides for all then, on every node of the channel.', yes: 'Promote' }, { main: true });
    const drop = () => button('Drop canary', { ...all, wanted: { move: 'rollback' }, to: pointer.release, title: 'Drop the canary?',
      says: 'The release that runs decides for all again.', yes: 'Drop' });
    const back = () => button(`Roll back to ${short(earlier[0])}`, { ...all, wanted: { move: 'rollback' }, to: earlier[0], title: 'Roll back?',
      says: 'The release before decides for all, on every node of the channel. Those that keep it swap at once.', yes: 'Roll back' });
    const here = (release) => button('Move here', { ...all, wanted: { move: 'release', release }, to: release, title: 'Move the channel?',
      says: 'Every node of the channel swaps to that release. A canary ends.', yes: 'Move' }, { key: release });
    return [
      h('div', { class: 'actions', 'data-key': 'moves' }, pointer.canary ? [promote(), drop()] : earlier.length > 0 && back()),
      h('div', { id: 'moved', role: 'status', tabindex: -1, 'data-key': 'moved' }, said?.cloneNode(true)),
      earlier.length ? table('Earlier releases', [{ name: 'Earlier release' }, { name: 'Name' }, { name: 'Move' }],
        earlier.map((release) => ({ key: release, cells: [mono(short(release), release), names.get(release) ?? none, here(release)] })))
        : nothing('The channel pointed to no other release before.'),
    ];
  }
  return buttons;
}

export default {
  title: 'Releases',
  enter(ctx) {
    let [core, failed] = [null, null];
    const look = async () => {
      try { core = await ask('nodes'); failed = null; } catch (error) { failed = error; }
    };
    ctx.every(4000, look);
    const buttons = mover(ctx, look);
    const unknown = () => (failed ? trouble('It cannot be told.', failed.message) : waiting());
    return () => {
      const { status } = ctx.node;
      if (!status) return waiting();
      const of = status.releases;
      const to = `--to ${of.channel || 'CHANNEL'} --key FILE${core?.url ? ` --nats ${core.url}` : ''}`;
      const runs = (name, release, more) => (release
        ? tile(name, release.name, [mono(short(release.release), release.release), ` ${more ?? `since ${day(release.since_us / 1000)}`}`])
        : tile(name, none, more ?? 'none'));
      const pointer = core?.channels?.find((one) => one.channel === of.channel);
      const isLocal = core?.kind === 'local';
      const operator = core?.operator;
      return [
        head('Releases', isLocal ? 'This node runs a folder: what is saved there runs.' : `This node follows the channel ${of.channel || '–'}, counter ${of.counter}.`),
        of.refusal && trouble('What the channel points to does not run here.', `${words(of.refusal.code)}: ${of.refusal.why} (tried ${plural(of.refusal.tries, 'time')})`),
        of.channel_problem && trouble('The channel cannot be followed.', of.channel_problem.why),
        of.quarantined && trouble('This node took a release back by itself.', `${short(of.quarantined.release)}: ${of.quarantined.why}`),
        of.canary_dropped && trouble('This node dropped a canary by itself.', `${short(of.canary_dropped.release)}: ${of.canary_dropped.why}`),
        tiles(runs('Running', of.active), runs('Canary', of.canary, of.canary ? `${of.canary.share_bp / 100} % of the subjects` : 'none'),
          runs('Kept for a rollback', of.previous)),
        of.canary && card('The canary beside what runs', { key: 'canary', says: 'On this node, in the last ten minutes.' }, compare(ctx.node)),
        card('Who runs what', { key: 'nodes' }, core ? nodesTable(core, status) : unknown()),
        !isLocal && card('Channels', { key: 'channels' }, core ? table('Channels', [{ name: 'Channel' }, { name: 'Release' }, { name: 'Canary' }, { name: 'Counter', num: true }, { name: 'Expires' }],
          core.channels.map((one) => ({
            key: one.channel,
            cells: one.problem ? [one.channel, badge(one.problem, 'bad'), none, none, none]
              : [one.channel, mono(short(one.release), one.release), one.canary ? `${short(one.canary.release)} ${one.canary.share_bp / 100} % ${labels(one.canary.where)}` : none, String(one.counter),
                Date.parse(one.expires) < Date.now() ? badge('expired: deploy again', 'bad') : day(one.expires)],
          })), 'There is no channel yet: deploy a release, and nodes follow it.') : unknown()),
        !isLocal && card('Move the channel', { key: 'move', says: operator?.key
          ? `The operator\u2019s key ${operator.key} is on this node: it signs what is moved here. A new release comes by a command.`
          : 'A channel is moved by the operator\u2019s key. Run these where it is.' },
          operator?.problem && trouble('The operator\u2019s key of this node moves nothing.', operator.problem),
          operator?.key ? pointer && buttons(pointer, operator.earlier, names(core, of))
            : pointer?.canary ? [h('h3', null, 'The canary for all'), command(`selvedge promote ${to}`, 'Copy: promote'), h('h3', null, 'The canary for nobody'), command(`selvedge rollback ${to}`, 'Copy: end the canary')]
              : [h('h3', null, 'Back to the release before'), command(`selvedge rollback ${to}`, 'Copy: roll back')],
          h('h3', null, 'A new release for all'), command(`selvedge deploy FOLDER ${to} --wait`, 'Copy: deploy'),
          h('h3', null, 'A new release for one subject in twenty'), command(`selvedge deploy FOLDER ${to} --share 5%`, 'Copy: deploy a canary')),
        card('Refused lately', { key: 'refused' }, of.refused.length ? table('Refused releases and pointers', [{ name: 'When' }, { name: 'Why' }, { name: 'Release' }, { name: 'Detail' }],
          [...of.refused].reverse().map((one, at) => ({ key: `${one.since_us}-${at}`, cells: [day(one.since_us / 1000), words(one.code), one.release ? mono(short(one.release), one.release) : none, one.why] })))
          : nothing('Nothing was refused since the node started.')),
      ];
    };
  },
};
