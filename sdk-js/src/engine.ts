// What decides, as the client sees it: the words of `POST decide`, and the interface that the remote and the local engine have in
// common. Owns no behaviour but the failure.

import type { Ask, Choice, Context, Json } from "./types.js";

/** The body of `POST decide`. */
export interface DecideRequest {
  subject?: string;
  session?: string;
  context: Context;
  placements: Ask[];
  distinct?: boolean;
  tz_offset_min?: number;
}

/** One decision of the answer, by the node's own names. */
export interface WireDecision {
  decision_id: string;
  placement: string;
  release: string;
  reason: string;
  experiment?: string;
  arm?: string | null;
  choices: Choice[];
  values?: Record<string, Json>;
  max_lag_ms?: number;
  fault?: string | null;
  explanation?: Json;
}

/** A placement that could not be decided. */
export interface WireError {
  placement: string;
  error: { code: string; message: string };
}

export type WireEntry = WireDecision | WireError;

export interface DecideAnswer {
  decisions: WireEntry[];
  release?: string;
}

/** What decides. The client owns everything else: ids, exposures, the queue, retries. */
export interface Engine {
  /** Whether what it is asked next is decided at once, as a rule. */
  instant?: boolean;
  /** Decides, at once where it can. Throws, or rejects with, a `Failure` when it cannot decide at all. */
  decide(request: DecideRequest): DecideAnswer | Promise<DecideAnswer>;
  /** The release of that digest runs, or without one, the person's rows may have changed: the next `decide` after it resolves uses them. */
  update(release?: string): Promise<void>;
  close(): void;
}

/** What the local engine is made with. */
export interface EngineSetup {
  /** Requests a neighbour of the path that decides, such as `release`, with key, version, failover and timeout; rejects with a `Failure`. */
  send(name: string, init: EngineRequest): Promise<Response>;
  /** What `release` answers, asked for those ids, with all in it that is little. */
  early: Promise<Response>;
  /** When it was answered, in milliseconds since 1970, if it was. */
  at?: number;
  wasm?: string | URL | BufferSource | WebAssembly.Module;
  subject?: string;
  session?: string;
  /** Takes the record of each decision that the page made: binary, as a JSON text of base64. */
  record(record: string): void;
}

/** Posted when there is a body, else got. */
export interface EngineRequest {
  query?: Record<string, string>;
  body?: BodyInit;
}

/** Why something was not answered. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Whether the same request may work later. */
    readonly passing: boolean,
    /** How long the node asks to wait, in milliseconds. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}
