// The bytes that the engine takes and gives, in the postcard wire format: integers as LEB128 varints, texts and lists behind their
// length, numbers as they are. Owns both directions; what the fields mean stands beside them in `sdk-js/engine` and
// `runtime/decision/src/record.rs`.

import type { Ask, Context, ContextValue } from "../types.js";

/** How a placement takes a value of the context. */
export type Kind = "number" | "flag" | "symbol";

/** What a record says of a decision, as far as an answer tells it. */
export interface Outcome {
  decisionId: string;
  candidates: string[];
  choices: { candidate: number; score: number; propensity: number }[];
  values: number[];
  reason: string;
  experiment?: string;
  arm: string | null;
  fault: string | null;
  maxLagMs: number;
}

const REASONS = ["EMPTY", "FALLBACK", "EXPLORED", "RULED", "ASSIGNED", "SCORED"];
export const FAULTS = ["trap", "deadline", "memory", "bad_output", "refused", "input", "open"];

/** A question to the engine: bytes that are good until the next one. */
export function encodeAsk(
  ask: Ask,
  declared: readonly (readonly [string, Kind])[],
  context: Context,
  taken: readonly string[],
  tzOffsetMin: number,
): Uint8Array {
  out.begin();
  out.text(ask.placement);
  out.list(declared, ([name]) => value(context[name]));
  out.option(ask.candidates, (candidates) => out.list(candidates, (id) => out.text(id)));
  out.list(taken, (id) => out.text(id));
  out.option(ask.slots, (slots) => out.varint(slots));
  // Zigzag: 0, -1, 1, -2.
  out.varint(tzOffsetMin < 0 ? -2 * tzOffsetMin - 1 : 2 * tzOffsetMin);
  return out.bytes();
}

function value(given: ContextValue | undefined): void {
  switch (typeof given) {
    case "number":
      out.varint(1);
      return out.number(given);
    case "boolean":
      out.varint(2);
      return out.varint(given ? 1 : 0);
    case "string":
      out.varint(3);
      return out.text(given);
    default:
      return out.varint(0);
  }
}

/** What the beginning of a record says; faults come before what an answer does not tell. */
export function decodeRecord(bytes: Uint8Array): Outcome {
  const read = new Reader(bytes);
  const decisionId = uuid(read.take(16));
  read.skip(); // time
  read.skip(); // seed
  read.pass(32); // release
  read.varint(); // core
  read.pass(read.varint()); // placement
  read.option(() => read.pass(read.varint())); // subject
  read.option(() => read.pass(read.varint())); // session
  read.list(() => {
    // A slot and an arm have a number, out and holdout have none.
    if (read.varint() >= 2) read.varint();
  });
  read.varint(); // slots
  const candidates = read.list(() => read.text());
  const choices = read.list(() => {
    const candidate = read.varint();
    read.varint(); // slot
    read.varint(); // draw
    return { candidate, score: read.number(), propensity: read.number() };
  });
  const values = read.list(() => read.number());
  const reason = REASONS[read.varint()] ?? "FALLBACK";
  const experiment = read.option(() => read.text());
  const arm = read.option(() => read.text()) ?? null;
  const faults = read.list(() => {
    read.varint(); // rung
    read.pass(1); // its index
    return read.varint();
  });
  const first = faults[0];
  return {
    decisionId,
    candidates,
    choices,
    values,
    reason,
    ...(experiment === undefined ? {} : { experiment }),
    arm,
    fault: first === undefined ? null : (FAULTS[first] ?? "trap"),
    maxLagMs: read.varint(),
  };
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function uuid(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < 16; at++) text += (at === 4 || at === 6 || at === 8 || at === 10 ? "-" : "") + HEX[bytes[at]!];
  return text;
}

/** Texts of less characters have a length of one byte. */
const SHORT = 128;

class Writer {
  private buffer = new Uint8Array(256);
  private at = 0;

  begin(): void {
    this.at = 0;
  }

  varint(n: number): void {
    this.room(5);
    for (; n > 127; n = Math.floor(n / 128)) this.buffer[this.at++] = (n % 128) | 128;
    this.buffer[this.at++] = n;
  }

  number(n: number): void {
    this.room(8);
    new DataView(this.buffer.buffer).setFloat64(this.at, n, true);
    this.at += 8;
  }

  text(text: string): void {
    const { length } = text;
    // Most are short and of ASCII: those cost less here than where all are at home.
    if (length < SHORT) {
      this.room(length + 1);
      let at = 0;
      for (; at < length; at++) {
        const code = text.charCodeAt(at);
        if (code > 127) break;
        this.buffer[this.at + 1 + at] = code;
      }
      if (at === length) {
        this.buffer[this.at] = length;
        this.at += length + 1;
        return;
      }
    }
    const bytes = encoder.encode(text);
    this.varint(bytes.length);
    this.room(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  list<T>(items: readonly T[], each: (item: T) => void): void {
    this.varint(items.length);
    items.forEach(each);
  }

  option<T>(given: T | undefined, some: (given: T) => void): void {
    this.varint(given === undefined ? 0 : 1);
    if (given !== undefined) some(given);
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.at);
  }

  private room(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const larger = new Uint8Array(2 * (this.at + bytes));
    larger.set(this.buffer);
    this.buffer = larger;
  }
}

class Reader {
  private at = 0;
  private readonly buffer: Uint8Array;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.buffer = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  take(count: number): Uint8Array {
    return this.buffer.subarray(this.at, (this.at += count));
  }

  /** Bytes that a page has no use for. */
  pass(count: number): void {
    this.at += count;
  }

  /** Such an integer: it may be larger than a number can say. */
  skip(): void {
    while (this.view.getUint8(this.at++) > 127);
  }

  varint(): number {
    let n = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.view.getUint8(this.at++);
      n += (byte & 127) * scale;
      if (byte < 128) return n;
    }
  }

  number(): number {
    this.at += 8;
    return this.view.getFloat64(this.at - 8, true);
  }

  text(): string {
    const bytes = this.take(this.varint());
    if (bytes.length >= SHORT) return decoder.decode(bytes);
    let text = "";
    for (const byte of bytes) {
      if (byte > 127) return decoder.decode(bytes);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  list<T>(each: () => T): T[] {
    const list: T[] = [];
    for (let left = this.varint(); left--; ) list.push(each());
    return list;
  }

  option<T>(some: () => T): T | undefined {
    return this.varint() === 0 ? undefined : some();
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** One for all questions. */
const out = new Writer();
