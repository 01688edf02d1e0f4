// OpenFeature's provider for pages, over a client. Owns what is what in OpenFeature's words; knows nothing of the network.

import {
  ErrorCode,
  type EvaluationContext,
  type JsonValue,
  OpenFeatureEventEmitter,
  type Provider,
  ProviderEvents,
  type ResolutionDetails,
  StandardResolutionReasons as Reasons,
  type TrackingEventDetails,
} from "@openfeature/web-sdk";
import type { Cause, Client, Context, Decision, Problem, Ready } from "./types.js";

const REASONS: Record<string, string> = {
  ASSIGNED: Reasons.SPLIT,
  EXPLORED: Reasons.SPLIT,
  EMPTY: Reasons.DISABLED,
  FALLBACK: Reasons.UNKNOWN,
  DEFAULT: Reasons.DEFAULT,
};

const CODES: Record<string, ErrorCode> = {
  unknown_placement: ErrorCode.FLAG_NOT_FOUND,
  no_candidates: ErrorCode.FLAG_NOT_FOUND,
  missing_unit: ErrorCode.TARGETING_KEY_MISSING,
  bad_field: ErrorCode.INVALID_CONTEXT,
  out_of_bounds: ErrorCode.INVALID_CONTEXT,
  type_mismatch: ErrorCode.TYPE_MISMATCH,
};

/** Every placement is a flag: its value the first choice's payload, else its id; its variant the id. */
export class SelvedgeProvider implements Provider {
  readonly metadata = { name: "selvedge" };
  readonly runsOn = "client";
  readonly events = new OpenFeatureEventEmitter();
  private problem: Problem | undefined;
  private started = false;
  /** Whether there are decisions to go on with. */
  private holds = true;
  private readonly ends: (() => void)[];

  /** The provider owns `client` from now on and closes it. */
  constructor(private readonly client: Client) {
    const failed = (problem: Problem, event: ProviderEvents.Stale | ProviderEvents.Error) => {
      this.problem = problem;
      if (this.started) this.events.emit(event, { message: problem.message });
    };
    this.ends = [
      client.on("stale", (problem) => failed(problem, this.holds ? ProviderEvents.Stale : ProviderEvents.Error)),
      client.on("error", (problem) => failed(problem, ProviderEvents.Error)),
      client.on("change", (flagsChanged) => {
        this.holds = true;
        this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged });
      }),
      client.on("ready", (state) => {
        if (state !== "fresh" && state !== "bootstrap") return;
        this.problem = undefined;
        if (this.started) this.events.emit(ProviderEvents.Ready);
      }),
    ];
  }

  async initialize(context: EvaluationContext = {}): Promise<void> {
    let state = await this.client.ready();
    // Without any context of OpenFeature's, the one that the client was made with counts.
    if (Object.keys(context).length) state = (await this.take(context)) ?? state;
    this.started = true;
    this.tell(state);
  }

  async onContextChange(before: EvaluationContext, context: EvaluationContext): Promise<void> {
    this.tell(await this.take(context, before));
  }

  /** Asks again where somebody else is meant, or another context; once for both. */
  private async take({ targetingKey, session: _, ...rest }: EvaluationContext, before?: EvaluationContext): Promise<Ready | undefined> {
    const { subject, context } = this.client.visitor();
    // Who was named and is not any more has left.
    const meant = targetingKey || (before?.targetingKey ? null : subject);
    const identified = meant === subject ? undefined : this.client.identify(meant);
    const changed = same(rest, context) ? undefined : this.client.setContext(rest as Context);
    await identified;
    return (await changed) ?? identified;
  }

  /** That no node answered, after OpenFeature has taken note that we are ready; throws where there is nothing to go on with. */
  private tell(state: Ready | undefined): void {
    const { problem } = this;
    if (state) this.holds = state !== "defaults";
    if (!problem) return;
    if (state === "defaults") throw new Error(problem.message);
    setTimeout(() => this.events.emit(ProviderEvents.Stale, { message: problem.message }));
  }

  resolveBooleanEvaluation(key: string, fallback: boolean): ResolutionDetails<boolean> {
    return this.resolve(key, fallback);
  }

  resolveStringEvaluation(key: string, fallback: string): ResolutionDetails<string> {
    return this.resolve(key, fallback);
  }

  resolveNumberEvaluation(key: string, fallback: number): ResolutionDetails<number> {
    return this.resolve(key, fallback);
  }

  resolveObjectEvaluation<T extends JsonValue>(key: string, fallback: T): ResolutionDetails<T> {
    return this.resolve(key, fallback);
  }

  private resolve<T>(key: string, fallback: T): ResolutionDetails<T> {
    const decision: Decision<T> = this.client.decide(key, fallback);
    const { value, error, source, ids, reason } = decision;
    if (error) return { value, reason: Reasons.ERROR, errorCode: CODES[error.code] ?? ErrorCode.GENERAL, errorMessage: error.message };
    // Read for the first time: asked for by now, and told of by an event when it is there.
    if (source === "default") return { value, reason: Reasons.ERROR, errorCode: ErrorCode.PROVIDER_NOT_READY, errorMessage: `${key} is asked for now; name it in placements` };
    const flagMetadata: Record<string, string> = { reason };
    for (const name of ["release", "decisionId", "experiment", "arm", "fault"] as const) {
      const said = decision[name];
      if (said) flagMetadata[name === "decisionId" ? "decision_id" : name] = said;
    }
    return { value, variant: ids[0], reason: source === "cached" ? Reasons.CACHED : (REASONS[reason] ?? Reasons.TARGETING_MATCH), flagMetadata };
  }

  /** `placement` or `decision_id` among the details, and `item`, say what it follows from. */
  track(event: string, _: EvaluationContext, { placement, decision_id, item, token, ...details }: TrackingEventDetails = {}): void {
    this.client.track(event, details, { placement, decisionId: decision_id, item, token } as Cause);
  }

  async onClose(): Promise<void> {
    for (const end of this.ends) end();
    await this.client.close();
  }
}

/** Whether two contexts say the same, in whatever order. */
function same(one: object, other: object): boolean {
  const text = (of: object) => JSON.stringify(Object.entries(of).sort(([a], [b]) => (a < b ? -1 : 1)));
  return text(one) === text(other);
}
