// What happens, as it happens: one stream for the whole page, opened again when it breaks. EventSource cannot send a key, so this
// reads the stream itself.

import { ask } from './api.js';

const listeners = new Map();
const WAITS_MS = [500, 1000, 2000, 5000, 10000];

export const live = {
  /** `open`, `waiting` or `off`. */
  state: 'off',
  on(type, told) {
    if (!listeners.has(type)) listeners.set(type, new Set());
    listeners.get(type).add(told);
    return () => listeners.get(type).delete(told);
  },
};

const tell = (type, data) => listeners.get(type)?.forEach((told) => told(data));

function become(state) {
  if (live.state === state) return;
  live.state = state;
  tell('state', state);
}

async function read(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split('\n\n');
    text = parts.pop();
    for (const part of parts) {
      let type = 'message';
      let data = '';
      for (const line of part.split('\n')) {
        if (line.startsWith('event:')) type = line.slice(6).trim();
        else if (line.startsWith('data:')) data += line.slice(5);
      }
      if (data) tell(type, JSON.parse(data));
    }
  }
}

let running = null;

/** Begins, or begins anew: after another key, say. */
export function start() {
  running?.abort();
  const stop = new AbortController();
  running = stop;
  (async () => {
    for (let failed = 0; !stop.signal.aborted; failed += 1) {
      try {
        const answer = await ask('live', { raw: true, signal: stop.signal });
        failed = -1;
        become('open');
        // What was missed while there was no stream is asked for by who needs it.
        tell('opened');
        await read(answer);
      } catch (error) {
        if (error.needsKey) { become('off'); return; }
      }
      if (stop.signal.aborted) return;
      become('waiting');
      await new Promise((done) => setTimeout(done, WAITS_MS[Math.min(Math.max(failed, 0), WAITS_MS.length - 1)]));
    }
  })();
}
