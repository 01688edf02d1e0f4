// What goes out: events, rewards and decisions on their way to the core, and events that no release knows.

import { chart } from './chart.js';
import { bytes, day, int, ms, span } from './format.js';
import { badge, bar, card, head, mono, table, tile, tiles, trouble, waiting } from './parts.js';

const LANES = ['rewards', 'decisions', 'events'];

export default {
  title: 'Events and outbox',
  enter(ctx) {
    return () => {
      const { status, samples } = ctx.node;
      if (!status) return waiting();
      const { outbox, unknown_events: unknown } = status;
      const times = samples.map((sample) => sample.time_ms / 1000);
      const since = (us) => span((Date.now() - us / 1000) / 1000);
      return [
        head('Events and outbox', 'What this node has to tell: on disk until the core has acknowledged it.'),
        !status.link.connected && trouble('The core cannot be reached.', `Since ${day(status.link.since)}${status.link.why ? `: ${status.link.why}` : ''}. What there is to tell is kept, and sent when the core is back.`),
        outbox.failing && trouble('Nothing can be stored.', `For ${since(outbox.failing.since_us)}: ${outbox.failing.why}. Senders are told to keep their events.`),
        outbox.stuck && trouble('The core does not take what is sent.', `For ${since(outbox.stuck.since_us)}: ${outbox.stuck.why}. It is kept and sent again.`),
        tiles(outbox.lanes.map((lane) => tile(`Backlog: ${lane.lane}`, bytes(lane.backlog_bytes), lane.oldest_age_ms == null ? 'all acknowledged' : `the oldest waits ${ms(lane.oldest_age_ms)}`,
          lane.backlog_bytes > lane.limit_bytes * 0.8 ? 'bad' : null)),
          tile('Second copies', int(outbox.duplicates), `${int(outbox.remembered_ids)} message ids are remembered`)),
        card('Backlog', { key: 'backlog' }, chart('backlog', { label: 'Bytes that the core has not acknowledged, by lane, ten minutes', format: (n) => bytes(Math.round(n)),
          series: [{ name: 'rewards', colour: 'teal' }, { name: 'decisions', colour: 'blue' }, { name: 'events', colour: 'violet' }] },
          [times, ...LANES.map((_, at) => samples.map((sample) => sample.backlog[at]))])),
        card('Lanes', { key: 'lanes', says: 'Since the node started. Refused: the sender was told. Dropped: given up, and counted.' },
          table('Lanes of the outbox', [{ name: 'Lane' }, { name: 'Taken', num: true }, { name: 'On disk', num: true }, { name: 'Acknowledged', num: true }, { name: 'Refused', num: true }, { name: 'Dropped', num: true }, { name: 'Full' }, { name: 'Files', num: true }],
            outbox.lanes.map((lane) => ({
              key: lane.lane,
              cells: [lane.lane, int(lane.accepted), int(lane.stored), int(lane.published), lane.refused ? badge(int(lane.refused), 'warn') : '0', lane.dropped ? badge(int(lane.dropped), 'bad') : '0',
                bar(lane.backlog_bytes / Math.max(1, lane.limit_bytes), `${bytes(lane.backlog_bytes)} of ${bytes(lane.limit_bytes)}`), int(lane.files)],
            })))),
        card('Events that the release does not know', { key: 'unknown', says: 'They are taken and told to the core; nothing here counts them.' },
          table('Unknown events', [{ name: 'Event' }, { name: 'How often', num: true }],
            unknown.map((event) => ({ key: event.event, cells: [mono(event.event), int(event.count)] })),
            'None: every event that came has a name that the release lists, or it lists none.')),
      ];
    };
  },
};
