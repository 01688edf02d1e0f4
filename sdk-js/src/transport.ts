// Requests to a node: which address, how long, and what an answer that is no answer means. Owns the version handshake and the failover;
// retries belong to whoever asks.

import { Failure } from "./engine.js";
import { parse } from "./store.js";

/** The protocol this SDK speaks; docs/browser.md of the node. */
export const PROTOCOL = 1;

const RETRY_MS = 1_000;
const RETRY_MOST_MS = 60_000;
/** No node keeps a page silent for longer. */
const RETRY_AFTER_MOST_MS = 3_600_000;

export interface Transport {
  /** Sends and reads an answer within the time; rejects with a `Failure`. */
  send<T>(path: string, init: Sent, read: (response: Response) => Promise<T>): Promise<T>;
  /** Where it would be sent now. */
  url(path: string, query?: Record<string, string>): string;
}

export interface Sent {
  method?: "GET" | "POST";
  body?: BodyInit;
  query?: Record<string, string>;
}

/** How long to wait after so many failures in a row: as the node says, else longer and longer, and never all pages at once. */
export function backoff({ retryAfterMs }: Failure, failures: number): number {
  return retryAfterMs ?? Math.min(RETRY_MOST_MS, RETRY_MS * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** How long a request may take where there is no other address: longer than a page waits, because a late answer is one. */
const PATIENCE_MS = 10_000;

export interface Addresses {
  baseUrls: readonly string[];
  /** Sent in the address: what a page sends then needs no preflight, and beacons and streams can carry nothing else. */
  key?: string;
  /** How long the page waits for all of them. */
  timeoutMs: number;
}

export function transport({ baseUrls, key, timeoutMs }: Addresses, patienceMs = PATIENCE_MS): Transport {
  // The address that answered last. A session that stays on one node finds its own events there at once.
  let at = 0;

  function url(path: string, query: Record<string, string> = {}, base = baseUrls[at]): string {
    return `${base}${path}?${new URLSearchParams({ ...(key && { key }), v: `${PROTOCOL}`, ...query })}`;
  }

  async function attempt<T>(address: string, init: Sent, read: (response: Response) => Promise<T>, ms: number): Promise<T> {
    const stop = new AbortController();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      stop.abort();
    }, ms);
    try {
      const { method = "POST", body } = init;
      const response = await fetch(address, { method, body, signal: stop.signal, credentials: "omit" });
      if (!response.ok && response.status !== 304) throw await refusal(response);
      return await read(response);
    } catch (error) {
      if (error instanceof Failure) throw error;
      const where = address.split("?")[0];
      throw late
        ? new Failure("timeout", `${where} did not answer in time`, true)
        : new Failure("unreachable", `${where} cannot be reached: it is down, offline, blocked, or does not allow this origin`, true);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    url,
    async send(path, init, read) {
      // Said once with the options, under this code.
      let failure: unknown = new Failure("option_baseUrl", "there is no address", false);
      for (let left = baseUrls.length; left--; ) {
        const used = at;
        try {
          return await attempt(url(path, init.query, baseUrls[used]), init, read, left ? timeoutMs / baseUrls.length : patienceMs);
        } catch (error) {
          failure = error;
          // What a node refuses, another would as well; one that asks to wait is not passed by.
          if (!(error as Failure).passing || (error as Failure).code === "too_many_requests") break;
          // Of several requests that failed here, one moves on.
          if (at === used) at = (used + 1) % baseUrls.length;
        }
      }
      throw failure;
    },
  };
}

/** Reads JSON in which `member` stands; anything else is somebody else's answer. */
export function json(member: string): (response: Response) => Promise<any> {
  return async (response) => {
    const text = await response.text();
    const found = parse(text);
    if (found && typeof found === "object" && member in found) return found;
    throw foreign(response);
  };
}

function foreign(response: Response): Failure {
  const { status, url, headers } = response;
  const message = `${url.split("?")[0]} answered ${status} (${headers.get("content-type")}), not as a node does: check baseUrl and paths`;
  return new Failure("not_a_node", message, status >= 500);
}

async function refusal(response: Response): Promise<Failure> {
  const { status, headers } = response;
  const { code, message } = parse(await response.text())?.error ?? {};
  if (!code) return foreign(response);
  // The handshake: a node that does not speak this protocol says which ones it speaks.
  const hint = status === 426 ? `: this SDK is for protocol ${PROTOCOL}, take the one that goes with the node` : "";
  const passing = status >= 500 || status === 429 || status === 408;
  const retryAfterMs = Math.min(Number(headers.get("retry-after")) * 1000, RETRY_AFTER_MOST_MS) || undefined;
  return new Failure(code, `${message}${hint}`, passing, retryAfterMs);
}
