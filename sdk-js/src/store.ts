// What outlives the page: localStorage where it works, else nothing. Never throws; callers keep in memory what they need.

import type { Warn } from "./manners.js";

export interface Store {
  get(key: string): string | null;
  /** Whether it is kept. */
  set(key: string, value: string): boolean;
  remove(key: string): void;
  /** All keys that begin with `prefix`. */
  keys(prefix: string): string[];
}

export function openStore(kind: string | undefined, warn: Warn): Store {
  const forbidden = kind === "memory";
  /** Even reading the global throws where a browser forbids storage. */
  function attempt<T>(act: (local: Storage) => T, otherwise: T): T {
    try {
      if (!forbidden) return act(localStorage);
    } catch {
      warn("storage", "localStorage is full or forbidden");
    }
    return otherwise;
  }
  return {
    get: (key) => attempt((local) => local.getItem(key), null),
    set: (key, value) => attempt((local) => (local.setItem(key, value), true), false),
    remove: (key) => attempt((local) => local.removeItem(key), undefined),
    keys: (prefix) => attempt((local) => Object.keys(local).filter((key) => key.startsWith(prefix)), []),
  };
}

/** What a JSON text says, or nothing when it is none. */
export function parse(text: string | null): any {
  try {
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
