// How an open page learns that another release runs: a stream of events, or asking now and then where that does not work. Owns neither
// what is done about it, nor the jitter, which is the node's.

import { json, type Transport } from "./transport.js";
import { parse } from "./store.js";

/** The node says hello at once; a proxy that keeps answers back does not let it through. */
const HELLO_MS = 10_000;
/** How often a page asks where it has no stream, give or take a tenth. */
const POLL_MS = 60_000;

export interface Stream {
  open(): void;
  close(): void;
}

/** Calls `told` with the digest of the release that runs, and of the canary beside it: at once, and whenever they are others. */
export function stream(transport: Transport, beside: (name: string) => string, told: (release: string, canary?: string) => void): Stream {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function listen(): void {
    try {
      source = new EventSource(transport.url(beside("stream")));
    } catch {
      // There is none here, or the address is no address.
      return poll();
    }
    timer = setTimeout(instead, HELLO_MS);
    const heard = (event: MessageEvent) => {
      clearTimeout(timer);
      const { release, canary } = parse(event.data) ?? {};
      if (typeof release === "string") told(release, canary);
    };
    source.addEventListener("hello", heard);
    source.addEventListener("release", heard);
    source.addEventListener("error", () => {
      // A connection that broke is opened again by the browser; one that was refused is not.
      if (source?.readyState === EventSource.CLOSED) return instead();
      // Nor does it know that requests went on to another address.
      if (source?.url !== transport.url(beside("stream"))) {
        close();
        listen();
      }
    });
  }

  function instead(): void {
    close();
    poll();
  }

  function poll(): void {
    timer = setTimeout(
      async () => {
        const mine = timer;
        try {
          // The browser keeps the answer and asks by its ETag: a release that did not change costs a 304, which we see as 200.
          const { release } = await transport.send(beside("release"), { method: "GET" }, json("release"));
          if (release && timer === mine) told(release);
        } catch {
          // The next question may be answered.
        }
        if (timer === mine) poll();
      },
      POLL_MS * (0.9 + Math.random() / 5),
    );
  }

  function close(): void {
    source?.close();
    source = undefined;
    clearTimeout(timer);
    timer = undefined;
  }

  return {
    open() {
      if (!source && !timer) listen();
    },
    close,
  };
}
