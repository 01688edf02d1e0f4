// How an open page learns that another release runs: a stream of events, or asking now and then where that does not work. Owns neither
// what is done about it, nor the jitter, which is the node's.

import { json, type Transport } from "./transport.js";
import { timer } from "./manners.js";
import { parse } from "./store.js";

/** The node says hello at once; a proxy that keeps answers back does not let it through. */
const HELLO_MS = 10_000;
/** `EventSource.CLOSED`. */
const CLOSED = 2;
/** How often a page asks where it has no stream, give or take a tenth. */
const POLL_MS = 60_000;

export interface Stream {
  open(): void;
  close(): void;
}

/**
 * Calls `told` with the digest of the release that runs, and of the canary beside it (without one, of the same), at once and whenever they
 * are others; and where it has to ask, with that of the release alone.
 */
export function stream(transport: Transport, beside: (name: string) => string, told: (release: string, canary?: string) => void): Stream {
  let source: EventSource | undefined;
  let open = false;
  const address = () => transport.url(beside("stream"));
  const silence = timer(instead);
  const polling = timer(async () => {
    try {
      // The browser keeps the answer and asks by its ETag: a release that did not change costs a 304, which we see as 200.
      const { release } = await transport.send(beside("release"), {}, json("release"));
      if (open && release) told(release);
    } catch {
      // The next question may be answered.
    }
    if (open && !source) poll();
  });

  function listen(): void {
    const used = address();
    try {
      source = new EventSource(used);
    } catch {
      // There is none here, or the address is no address.
      return poll();
    }
    silence.start(HELLO_MS);
    const heard = ({ data }: MessageEvent) => {
      silence.stop();
      const { release, canary = release } = parse(data) ?? {};
      if (release) told(release, canary);
    };
    for (const name of ["hello", "release"]) source.addEventListener(name, heard);
    source.onerror = () => {
      // A connection that broke is opened again by the browser; one that was refused is not.
      if (source?.readyState === CLOSED) return instead();
      // Nor does it know that requests went on to another address.
      if (used !== address()) {
        stop();
        listen();
      }
    };
  }

  function instead(): void {
    stop();
    poll();
  }

  function poll(): void {
    polling.start(POLL_MS * (0.9 + Math.random() / 5));
  }

  function stop(): void {
    source?.close();
    source = undefined;
    silence.stop();
    polling.stop();
  }

  return {
    open() {
      if (!open) listen();
      open = true;
    },
    close() {
      open = false;
      stop();
    },
  };
}
