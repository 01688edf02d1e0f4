// For Node.js: the same decisions while a page is rendered, and what the page starts from. Holds nothing between two pages; the page, not
// the server, tells what was seen.

import { ASK_MOST, asks, isDecision, isEntry, read, type Held } from "./decision.js";
import type { DecideAnswer, Failure, WireEntry } from "./engine.js";
import { mint } from "./identity.js";
import { addresses, json, transport } from "./transport.js";
import type { Ask, Bootstrap, Context, Decision, Json, Problem } from "./types.js";
import { warner } from "./manners.js";

export type { Ask, Bootstrap, Choice, Context, ContextValue, Decision, Json, Problem, Source } from "./types.js";

const VISITOR = "selvedge_visitor";
const SESSION = "selvedge_session";
/** How long an id lasts at most, and how long without another page, in seconds: a visitor's, a session's. */
const SUBJECT_S = 395 * 86_400;
const SESSION_S = 86_400;
const IDLE_S = 1_800;

export interface ServerOptions {
  /** Where a node answers. Of several, the next is tried when one does not answer. */
  baseUrl: string | readonly string[];
  /** A publishable key, best one of its own: its rate bounds what all visitors of this server ask together. */
  key?: string;
  /** How long a page waits for its decisions, in milliseconds: 300 unless said. */
  timeoutMs?: number;
  /** The path that decides: `/v1/browser/decide`, as for pages, so that what the page gets is what it would have asked for. */
  decidePath?: string;
}

/** What a page is decided for. */
export interface PageRequest {
  subject?: string;
  session?: string;
  context?: Context;
  placements: readonly (string | Ask)[];
  /** Whether no choice may stand twice among the first 32 placements, the next 32, and so on. */
  distinct?: boolean;
  /** The visitor's offset from UTC in minutes, where it is known. */
  tzOffsetMin?: number;
}

/** The decisions of one page. */
export interface Page {
  source: "fresh" | "defaults";
  /** The answer for a placement. What was read here counts as seen when the page starts. */
  decide<T>(placement: string, fallback: T): Decision<T>;
  /** What the page starts from: option `bootstrap` of `createClient`. */
  bootstrap(): Bootstrap;
  /** The same as an element of the page: a block of data, which a Content-Security-Policy does not forbid. */
  script(id?: string): string;
}

export interface Visitor {
  subject: string;
  session: string;
  /** Values of `Set-Cookie`, to be sent with the page. */
  cookies: string[];
}

export interface Server {
  /** Decides for a page. Never rejects: where no node answers, every answer is the default. */
  page(request: PageRequest): Promise<Page>;
  /**
   * Who asks, by two cookies of ours; somebody new has new ids, and `anew` makes them new: the visitor logged out. Only for those who
   * agreed to it.
   */
  visitor(cookies: string | undefined, options?: { anew?: boolean }): Visitor;
}

export function createServer(options: ServerOptions): Server {
  const warn = warner();
  // Whatever is said, nothing here throws.
  const { baseUrl, key, timeoutMs = 300, decidePath = "/v1/browser/decide" } = { ...options };
  const baseUrls = addresses(baseUrl);
  if (!baseUrls.length) warn("option_baseUrl", `option baseUrl is ${String(baseUrl)}, expected https://…: pages are rendered with defaults`);
  const net = transport({ baseUrls, key, timeoutMs }, timeoutMs / baseUrls.length);

  async function ask(request: PageRequest, placements: Ask[]): Promise<WireEntry[]> {
    const { subject, session, context, distinct, tzOffsetMin } = request;
    const parts: Promise<DecideAnswer>[] = [];
    for (let from = 0; from < placements.length; from += ASK_MOST) {
      const part = placements.slice(from, from + ASK_MOST);
      const body = JSON.stringify({ subject, session, context, distinct, tz_offset_min: tzOffsetMin, placements: part });
      parts.push(net.send(decidePath, { body }, json("decisions")));
    }
    return (await Promise.all(parts)).flatMap((answer) => answer.decisions.filter(isEntry));
  }

  return {
    async page(asked) {
      const request = { ...asked };
      let placements = asks(request.placements);
      let context = { ...request.context };
      const held = new Map<string, Held>();
      const seen = new Set<string>();
      let problem: Problem | undefined;
      try {
        for (const entry of await ask(request, placements)) {
          held.set(entry.placement, { entry, source: "fresh" });
          if (!isDecision(entry)) warn(`${entry.placement}_${entry.error.code}`, `${entry.placement} is not decided: ${entry.error.message}`);
        }
      } catch (error) {
        const { code = "unexpected", message } = error as Failure;
        problem = { code, message };
        // A page that is no JSON was asked for by nobody.
        if (!isJson(request)) [context, placements] = [{}, []];
        warn(code, `pages are rendered with defaults: ${message}`);
      }
      const bootstrap = (): Bootstrap => {
        const decisions = [...held.values()].map((each) => each.entry);
        return { v: 1, subject: request.subject, session: request.session, context, placements, decisions, read: [...seen] };
      };
      return {
        source: problem ? "defaults" : "fresh",
        decide(placement, fallback) {
          const found = held.get(placement);
          if (found && isDecision(found.entry)) seen.add(found.entry.decision_id);
          return read(placement, fallback, found, problem);
        },
        bootstrap,
        script: (id = "selvedge") => `<script type="application/json" id="${id}">${serialize(bootstrap() as unknown as Json)}</script>`,
      };
    },
    visitor(cookies, options) {
      const { anew } = { ...options };
      const now = Math.floor(Date.now() / 1000);
      const one = (name: string, mostS: number, idleS: number) => {
        // The id, and since when it is, in seconds since 1970.
        const [, found, since = now] = new RegExp(`(?:^|;\\s*)${name}=([\\w-]{8,64})(?:\\.(\\d{1,12}))?(?:;|$)`).exec(cookies ?? "") ?? [];
        const age = now - Number(since);
        const lasts = !anew && found !== undefined && age >= 0 && age < mostS;
        const [id, begun, left] = lasts ? [found, since, mostS - age] : [mint(), now, mostS];
        return { id, cookie: `${name}=${id}.${begun}; Path=/; Max-Age=${Math.min(left, idleS)}; SameSite=Lax; Secure; HttpOnly` };
      };
      const [subject, session] = [one(VISITOR, SUBJECT_S, SUBJECT_S), one(SESSION, SESSION_S, IDLE_S)];
      return { subject: subject.id, session: session.id, cookies: [subject.cookie, session.cookie] };
    },
  };
}

function isJson(value: unknown): boolean {
  try {
    JSON.stringify(value);
    return true;
  } catch {
    return false;
  }
}

/** JSON that stands inside of a script element whatever is in it, and is the same JSON to a parser. */
export function serialize(value: Json): string {
  const escapes: Record<string, string> = { "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029" };
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (char) => escapes[char]);
}
