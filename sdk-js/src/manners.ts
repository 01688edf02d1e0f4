// Between us and the page: what a developer is told, once; what the page gave us to call; how long it waits, what waits for it, and what time it is.

/** Says `message` unless something with this code was said before. */
export type Warn = (code: string, message: string) => void;

export function warner(): Warn {
  const said = new Set<string>();
  return (code, message) => {
    if (said.has(code)) return;
    said.add(code);
    // A page may have taken the console away.
    globalThis.console?.warn(`[selvedge] ${message} [${code}]`);
  };
}

/** Calls what the page gave us. What it throws is the page's own error and does not stop us. */
export function call<A>(listener: (argument: A) => void, argument: A): void {
  try {
    listener(argument);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

/** What `work` comes to, or nothing after `ms`. */
export function within<T>(ms: number, work: T | Promise<T>): Promise<T | undefined> {
  return Promise.race([work, new Promise<undefined>((done) => setTimeout(done, ms))]);
}

let at: number;
let text: string;

/** What time it is, as ISO 8601 has it. A page may ask thousands of times in a moment, and writing a date is slow. */
export function isoTime(): string {
  const time = Date.now();
  if (time !== at) text = new Date((at = time)).toISOString();
  return text;
}

export interface Timer {
  /** Has it done in so many milliseconds, unless that is arranged already. */
  start(ms: number): void;
  stop(): void;
}

/** Does something later, once for each time it was started. */
export function timer(act: () => unknown): Timer {
  let waiting: ReturnType<typeof setTimeout> | undefined;
  function stop(): void {
    clearTimeout(waiting);
    waiting = undefined;
  }
  return {
    start(ms) {
      waiting ??= setTimeout(() => {
        stop();
        act();
      }, ms);
    },
    stop,
  };
}
