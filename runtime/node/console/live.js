// What happens, as it happens: one stream for the whole page, opened again when it breaks. EventSource cannot send a key, so this
// reads the stream itself.

import { ask } from './api.js';

const listeners = new Map();
const WAITS_MS = [500, 1000, 2000, 5000, 10000];
/** A node tells something every second: a stream that says nothing for so long is dead, such as after a machine slept. */
const SILENT_MS = 10000;

export const live = {
  /** `open`, `waiting` or `off`. */
  state: 'off',
  /** Why it is not open, where the node said so. */
  why: null,
  on(type, told) {
    if (!listeners.has(type)) listeners.set(type, new Set());
    listeners.get(type).add(told);
    return () => listeners.get(type).delete(told);
  },
};

const tell = (type, data) => listeners.get(type)?.forEach((told) => told(data));

function become(state, why = null) {
  live.why = why;
  if (live.state === state) return;
  live.state = state;
  tell('state', state);
}

async function read(answer, heard) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
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

/** Reads one stream to its end, or until `over`: whether it began, and what broke it. */
async function once(over) {
  const attempt = new AbortController();
  const end = () => attempt.abort();
  over.addEventListener('abort', end);
  let silence;
  const heard = () => { clearTimeout(silence); silence = setTimeout(end, SILENT_MS); };
  let began = false;
  try {
    heard();
    const answer = await ask('live', { raw: true, signal: attempt.signal });
    began = true;
    become('open');
    // What was missed while there was no stream is asked for by who needs it.
    tell('opened');
    await read(answer, heard);
    return { began };
  } catch (error) {
    return { began, error };
  } finally {
    clearTimeout(silence);
    over.removeEventListener('abort', end);
  }
}

let running = null;

/** Begins, or begins anew: after another key, say. */
export function start() {
  running?.abort();
  const stop = new AbortController();
  running = stop;
  (async () => {
    for (let failed = 0; ; failed += 1) {
      const { began, error } = await once(stop.signal);
      if (stop.signal.aborted) return;
      if (error?.needsKey) return become('off');
      if (began) failed = 0;
      become('waiting', error?.status ? error.message : null);
      await new Promise((done) => setTimeout(done, WAITS_MS[Math.min(failed, WAITS_MS.length - 1)]));
      if (stop.signal.aborted) return;
    }
  })();
}

/** Ends it: a page that nobody sees takes no place from others. */
export function end() {
  running?.abort();
  become('off');
}
