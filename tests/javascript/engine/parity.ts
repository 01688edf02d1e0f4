// Decides what the suite decided natively, with the engine and the modules as a page has them. Of a folder: `release.bin`,
// `modules.json` (a list of {index, wasm} or {index, formula}), and `ops.bin`, each of which is its kind (0 rows, 1 decide, 2 replay),
// a u32 of bytes, and those. What comes out is for each decision and replay 1 and the record, or 0 and why there is none, as a byte
// and a u32 of bytes before it. The same in Node.js and in a page, whose scripts stand beside this one and in `browser`.

import { Engine, initSync } from "../../../sdk-js/engine/pkg/engine.js";
import { Runner, compile } from "../../../sdk-js/src/local/runner.js";

interface Formula {
  /** Why it does not answer, as the engine counts faults; 0 when it does. */
  fault: number;
  shared: number;
  candidate: number;
  /** For each output: a bias, and terms: whether of the candidate, where, how many, weight. */
  outputs: { bias: number | null; terms: [boolean, number, number, number][] }[];
}

/** The cases' modules are formulas: sums in the order in which they are written. */
class Formulas extends Runner {
  readonly #formulas = new Map<number, Formula>();

  know(index: number, formula: Formula): void {
    this.#formulas.set(index, formula);
  }

  override run(index: number, shared: Float64Array, candidates: Float64Array, count: number, out: Float64Array): number {
    const formula = this.#formulas.get(index);
    if (!formula) return super.run(index, shared, candidates, count, out);
    if (formula.fault) return formula.fault;
    for (let row = 0; row < count; row++) {
      const own = candidates.subarray(row * formula.candidate, (row + 1) * formula.candidate);
      formula.outputs.forEach(({ bias, terms }, output) => {
        let value = bias ?? NaN;
        for (const [isOwn, at, width, weight] of terms) {
          let sum = -0;
          for (const number of (isOwn ? own : shared).subarray(at, at + width)) sum += number;
          value += weight * sum;
        }
        out[row * formula.outputs.length + output] = value;
      });
    }
    return 0;
  }
}

/** What comes out of a folder, whose files `read` has, with the engine's file. */
export async function parity(engine: BufferSource, read: (name: string) => Promise<ArrayBuffer>): Promise<Uint8Array[]> {
  initSync({ module: await WebAssembly.compile(engine) });
  const runner = new Formulas();
  for (const { index, wasm, formula } of JSON.parse(new TextDecoder().decode(await read("modules.json")))) {
    if (formula) runner.know(index, formula);
    else await runner.add(index, (await compile(await read(wasm)))!);
  }
  const core = new Engine(new Uint8Array(await read("release.bin")), runner, 7, 0);
  const ops = new DataView(await read("ops.bin"));
  const out: Uint8Array[] = [];
  for (let at = 0; at < ops.byteLength; ) {
    const [kind, length] = [ops.getUint8(at), ops.getUint32(at + 1, true)];
    const bytes = new Uint8Array(ops.buffer, at + 5, length);
    at += 5 + length;
    if (kind === 0) {
      core.take(bytes, 0);
      continue;
    }
    let [ok, answer] = [1, new Uint8Array()];
    try {
      answer = kind === 1 ? core.decide(bytes, 0) : core.replay(bytes);
    } catch (error) {
      [ok, answer] = [0, new TextEncoder().encode(String(error))];
    }
    const head = new DataView(new ArrayBuffer(5));
    head.setUint8(0, ok);
    head.setUint32(1, answer.length, true);
    out.push(new Uint8Array(head.buffer), answer);
  }
  core.free();
  return out;
}
