// Requests to a node: which address, how long, and what an answer that is no answer means. Owns the version handshake and the failover;
// retries belong to whoever asks.

import { Failure } from "./engine.js";
import { parse } from "./store.js";

/** The protocol this SDK speaks; docs/browser.md of the node. */
export const PROTOCOL = 1;

const RETRY_MS = 1_000;
const RETRY_MOST_MS = 60_000;
/** A node that asks to wait for longer is not heard. */
const RETRY_AFTER_MOST_MS = 3_600_000;

export interface Transport {
  /** Sends and reads an answer within the time; rejects with a `Failure`. */
  send<T>(path: string, init: Sent, read: (response: Response) => Promise<T>): Promise<T>;
  /** Where it would be sent now. */
  url(path: string, query?: Record<string, string>): string;
}

/** Posted when there is a body, else got. */
export interface Sent {
  body?: BodyInit;
  query?: Record<string, string>;
}

/** How long to wait after so many failures in a row: as the node says, else longer and longer; up to half more, never all pages at once. */
export function backoff({ retryAfterMs }: Partial<Failure>, failures: number): number {
  return (retryAfterMs ?? Math.min(RETRY_MOST_MS, RETRY_MS * 2 ** failures)) * (1 + Math.random() / 2);
}

/** How long a request may take where there is no other address: longer than a page waits, because a late answer is one. */
const PATIENCE_MS = 10_000;

/** The addresses among what was said: each without the slash at its end. */
export function addresses(said: unknown): string[] {
  const all = [said].flat().map(String).filter((base) => /^https?:\/\/./.test(base));
  return all.map((base) => base.replace(/\/$/, ""));
}

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
    const timer = setTimeout(() => stop.abort(), ms);
    try {
      const { body } = init;
      return await read(await fetch(address, { method: body && "POST", body, signal: stop.signal, credentials: "omit" }));
    } catch (error) {
      if (error instanceof Failure) throw error;
      const where = address.split("?")[0];
      throw stop.signal.aborted
        ? new Failure("timeout", `${where}: no answer in time`, true)
        : new Failure("unreachable", `${where} is unreachable, or does not allow this origin`, true);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    url,
    async send(path, init, read) {
      let failure: unknown;
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
      // Said once with the options, under this code.
      throw failure ?? new Failure("option_baseUrl", "no address", false);
    },
  };
}

/** Reads JSON in which `member` stands, whatever its status; anything else is a refusal, or somebody else's answer, who may go again. */
export function json(member: string): (response: Response) => Promise<any> {
  return async (response) => {
    const found = parse(await response.text());
    if (found && typeof found === "object" && member in found) return found;
    const { status, url, headers } = response;
    const { code, message } = found?.error ?? {};
    if (!code) throw new Failure("not_a_node", `${url.split("?")[0]} answered ${status} (${headers.get("content-type")}), not as a node does`, true);
    // The handshake: a node that does not speak this protocol says which ones it speaks.
    const hint = status === 426 ? `; this SDK speaks protocol ${PROTOCOL}` : "";
    const passing = status >= 500 || status === 429 || status === 408;
    const retryAfterMs = Math.min(Number(headers.get("retry-after")) * 1000, RETRY_AFTER_MOST_MS) || undefined;
    throw new Failure(code, message + hint, passing, retryAfterMs);
  };
}

/** The answer as it is, when it is one. */
export async function whole(response: Response): Promise<Response> {
  return response.ok ? response : json("")(response);
}
