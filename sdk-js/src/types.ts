// The public words of the SDK: what goes in and what comes out. Owns no behaviour.

/** A value as JSON has it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A value of the context. What a placement does not declare is ignored by the node. */
export type ContextValue = string | number | boolean | null;

/** What is known of the page or the visitor at this moment, by name. */
export type Context = Record<string, ContextValue>;

/**
 * What the visitor has agreed to.
 * - `granted`: ids and unsent events are kept in localStorage, events are sent.
 * - `pending`: all is kept in memory, nothing is sent but the question itself; `setConsent` releases or forgets it. Who agrees then goes
 *   on as who they were on an earlier page.
 * - `denied`: decisions are asked for under an id that lives as long as the page, nothing is tracked or kept.
 */
export type Consent = "granted" | "pending" | "denied";

/** One placement to decide about. */
export interface Ask {
  /** Its key. */
  placement: string;
  /** The items or actions to choose from, where the page names them. */
  candidates?: readonly string[];
  /** How many choices; as many as the placement says when left out. */
  slots?: number;
}

/** What a client is created with. */
export interface Options {
  /** Where a node answers, such as `https://edge.shop.example`. Of several, the next is tried when one does not answer. */
  baseUrl: string | readonly string[];
  /** The publishable key, `pk_…`. A node without keys, such as `selvedge dev`, needs none. */
  key?: string;
  /** Who it is, when you know; else an anonymous id is minted. */
  subject?: string;
  /** The session, when you have one; else one is minted, and another after 30 minutes without activity or 24 hours. */
  session?: string;
  /** The context to begin with. */
  context?: Context;
  /** What `ready()` waits for: the placements of this page. Others are asked for when they are first read. */
  placements?: readonly (string | Ask)[];
  /** Whether no choice may stand twice among what is asked in one question: what `ready()` waits for, what one `decideAll` names; 32 at most. */
  distinct?: boolean;
  /** What the server decided for this page: `page.bootstrap()` of `@selvedge/sdk/server`, or the text of its script element. */
  bootstrap?: Bootstrap | string | null;
  /** How long `ready()`, and whoever awaits an answer, waits, in milliseconds: 1000 unless said. */
  timeoutMs?: number;
  /** Where ids, unsent events and the last decisions are kept: `local` unless said. `memory` keeps nothing after the page. */
  storage?: "local" | "memory";
  /** Whether to learn of new releases while the page is open: `true` unless said. */
  streaming?: boolean;
  /** What the visitor has agreed to: `granted` unless said, or `denied` where the browser sends Global Privacy Control. */
  consent?: Consent;
  /** The path that decides: `/v1/browser/decide`. Stream, release and records are its neighbours. */
  decidePath?: string;
  /** The path that takes events: `/v1/browser/events`. */
  eventsPath?: string;
  /** Where decisions are made: by the node (`remote`), or in the page (`local`), which needs `wasm`. */
  engine?: "remote" | "local";
  /** The decision core for `engine: "local"`: its URL, its bytes, or a compiled module. */
  wasm?: string | URL | BufferSource | WebAssembly.Module;
}

/** One that was chosen. */
export interface Choice {
  /** The action or item. */
  id: string;
  /** Its score; `null` when nothing scored it. */
  score: number | null;
  /** How likely this choice was. */
  propensity: number;
  /** What the placement says of it. */
  payload?: Json;
  /** The node's word that it chose this: `track` sends it along. */
  token?: string;
}

/** Why there is no answer from a node: a stable code, and words for people. */
export interface Problem {
  code: string;
  message: string;
}

/** Where an answer comes from. */
export type Source = "fresh" | "cached" | "bootstrap" | "default";

/** The answer for one placement, as the page reads it. */
export interface Decision<T = Json> {
  placement: string;
  /** The first choice's payload, else its id; the default where nothing was chosen, or where that has another type. */
  value: T;
  /** The ids of the choices, in order. Of a default: none, or for `rank` the candidates in the order given. */
  ids: string[];
  choices: Choice[];
  source: Source;
  /** `SCORED`, `RULED`, `ASSIGNED`, `EXPLORED`, `FALLBACK`, `EMPTY`, or `DEFAULT` where no node answered. */
  reason: string;
  decisionId?: string;
  experiment?: string;
  arm?: string | null;
  /** What rules and models say besides, by `module.output`. */
  values: Record<string, Json>;
  release?: string;
  fault?: string | null;
  /** How it came about, where the node tells pages. */
  explanation?: Json;
  /** Why it is a default. */
  error?: Problem;
}

/** What `ready()` resolves to: where the page's decisions come from. */
export type Ready = "fresh" | "cached" | "bootstrap" | "defaults";

/** What the server decided, for the page to start from. Plain JSON; any server can write it, and only `decisions` has to be there. */
export interface Bootstrap {
  v?: 1;
  /** Whom it was decided for: the visitor's ids in the page. `subject` is not kept for the next one. */
  subject?: string;
  session?: string;
  context?: Context;
  /** What was asked, where that was more than the placements' names. */
  placements?: Ask[];
  /** What was answered, untouched. */
  decisions: unknown[];
  /** The ids of the decisions that the rendered page shows: the page tells of them once. */
  read?: string[];
}

/** What an event follows from: a decision, and which of its choices; the first one unless said. */
export interface Cause {
  /** What `decide` or `rank` returned. */
  decision?: Decision<unknown>;
  /** Or the placement: the decision of it that was read last. */
  placement?: string;
  /** Or the decision's id, with the choice and its token where another page read it. */
  decisionId?: string;
  item?: string;
  token?: string;
}

/** What `on` tells. */
export interface Happenings {
  /** The first decisions are there; again when a node answers that did not. */
  ready: Ready;
  /** Decisions changed after that; the placements whose answer is another now. */
  change: string[];
  /** No node answers, or not in time; what is held goes on. */
  stale: Problem;
  /** Something is wrong that a retry does not mend. */
  error: Problem;
}

/** The client of a page. None of its methods throws, none of its promises rejects. */
export interface Client {
  /** Resolves when `decide` has the page's placements, after `timeoutMs` at the latest. */
  ready(): Promise<Ready>;
  /** The answer that is held now. One that is not held yet is asked for, and is the default until then (`on("change", …)` tells). */
  decide<T>(placement: string, fallback: T): Decision<T>;
  /** The same, but waits for the answer. */
  decideAsync<T>(placement: string, fallback: T): Promise<Decision<T>>;
  /** Asks once for all that a page shows; the answers by placement. All of them count as shown. */
  decideAll(placements: readonly (string | Ask)[]): Promise<Record<string, Decision<Json>>>;
  /** The `count` best of `candidates`, in order (`ids`); in the order given when no node answers. */
  rank(placement: string, candidates: readonly string[], count?: number): Promise<Decision<Json>>;
  /** Takes another context, and asks again for what is held. */
  setContext(context: Context): Promise<Ready>;
  /** Asks again for what is held, or from now on for `placements`: another route of a single-page app. */
  refresh(placements?: readonly (string | Ask)[]): Promise<Ready>;
  /** Tells that something happened. What was tracked survives a closed tab; a crash can lose the last second. */
  track(event: string, properties?: Record<string, unknown>, cause?: Cause): void;
  /** Says who the visitor is (they logged in), or with `null` that it is somebody else now (they logged out). */
  identify(subject: string | null, traits?: Record<string, unknown>): Promise<Ready>;
  /** Takes the visitor's answer. */
  setConsent(consent: Consent): void;
  /** Who it is at present, and in which context, so that a server can be told. */
  visitor(): { subject: string; session: string; context: Context };
  /** Calls `listener` when it happens; the function that is returned ends that. */
  on<K extends keyof Happenings>(what: K, listener: (told: Happenings[K]) => void): () => void;
  /** Ends it. */
  off<K extends keyof Happenings>(what: K, listener: (told: Happenings[K]) => void): void;
  /** Sends what is not sent yet; whether all of it was taken. */
  flush(): Promise<boolean>;
  /** Sends what it can, keeps the rest for the next page, and ends everything that runs. */
  close(): Promise<void>;
}
