// Asking the node. Owns the key, which stays in this tab, and what an answer that is none is told as.

import { store } from './store.js';

const KEY = 'selvedge-key';
const WITHIN_MS = 10000;

/** The node did not answer as asked. `status` is 0 when it did not answer at all. */
export class Failed extends Error {
  constructor(status, message, field) {
    super(message);
    this.status = status;
    this.field = field;
  }
  get needsKey() { return this.status === 401 || this.status === 403; }
}

export const key = {
  get: () => store.get(KEY),
  set: (value) => store.set(KEY, value),
};

let onKey = () => {};
/** Who is told when the node wants a key. */
export const whenKeyIsWanted = (told) => { onKey = told; };

export async function ask(path, options = {}) {
  const { body, signal = AbortSignal.timeout(WITHIN_MS), raw = false } = options;
  const headers = { accept: raw ? 'text/event-stream' : 'application/json' };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) {
    headers['content-type'] = 'application/json';
    headers['x-selvedge-console'] = '1';
  }
  let answer;
  try {
    answer = await fetch(`api/${path}`, {
      method: body === undefined ? 'GET' : 'POST', headers, signal, cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    const why = error.name === 'TimeoutError' ? `did not answer within ${WITHIN_MS / 1000} s` : 'cannot be reached';
    throw new Failed(0, `The node ${why}.`);
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => null);
    const failed = new Failed(answer.status, said?.error?.message ?? `The node answered ${answer.status}.`, said?.error?.field);
    if (failed.needsKey) onKey(failed);
    throw failed;
  }
  return raw ? answer : answer.json();
}
