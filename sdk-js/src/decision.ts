// From what a node answered to what a page reads, on the server as in the browser. Pure.

import type { WireDecision, WireEntry, WireError } from "./engine.js";
import type { Ask, Decision, Problem, Source } from "./types.js";

/** What is held of a placement. */
export interface Held {
  entry: WireEntry;
  source: Exclude<Source, "default">;
}

export function isDecision(entry: WireEntry): entry is WireDecision {
  return !("error" in entry);
}

/** Whether it has the shape of an entry; what was stored or handed on may be anything. */
export function isEntry(entry: any): entry is WireEntry {
  const answers = typeof entry?.error?.code === "string" || (typeof entry?.decision_id === "string" && Array.isArray(entry.choices));
  return answers && typeof entry.placement === "string";
}

/** The answer as the page reads it: the default wherever there is no other of its type. */
export function read<T>(placement: string, fallback: T, held: Held | undefined, why?: Problem): Decision<T> {
  const entry = held?.entry;
  const decided = entry && isDecision(entry) ? entry : undefined;
  const choices = decided?.choices ?? [];
  let error = entry && !decided ? (entry as WireError).error : decided ? undefined : why;
  let value = (choices[0]?.payload ?? choices[0]?.id ?? fallback) as T;
  if (fallback !== undefined && fallback !== null && kind(fallback) !== kind(value)) {
    error = { code: "type_mismatch", message: `${placement} is no ${kind(fallback)} as the default is` };
    value = fallback;
  }
  return {
    reason: "DEFAULT",
    ...decided,
    placement,
    value,
    ids: choices.map((choice) => choice.id),
    choices,
    source: decided ? held!.source : "default",
    decisionId: decided?.decision_id,
    values: decided?.values ?? {},
    error,
  };
}

function kind(value: unknown): string {
  return Array.isArray(value) ? "list" : typeof value;
}

/** What of it a visitor can see: two answers with the same are no change. */
export function seen(entry: WireEntry): string {
  return isDecision(entry) ? JSON.stringify([entry.choices.map(({ id, payload }) => [id, payload]), entry.arm, entry.values]) : entry.error.code;
}

/** The most placements of one question: a node's `http.max_batch`. */
export const ASK_MOST = 32;

/** Placements by name or in full, or one, as the node takes them; what is neither is left out. */
export function asks(placements: readonly (string | Ask)[] | undefined): Ask[] {
  const all = [placements].flat().map((each) => (typeof each === "string" ? { placement: each } : (each as Ask)));
  return all.filter((each) => typeof each?.placement === "string");
}
