// Decides what the suite decided natively, with the engine and the modules as a page has them. Of each folder named: `release.bin`,
// `modules.json` (a list of {index, outputs, wasm} or {index, outputs, formula}), and `ops.bin`, each of which is its kind (0 rows,
// 1 decide, 2 replay), a u32 of bytes, and those. `out.bin` is written: for each decision and replay 1 and the record, or 0 and why
// there is none, as a byte and a u32 of bytes before it.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

const [engine, ...folders] = process.argv.slice(2);
initSync({ module: new WebAssembly.Module(readFileSync(engine!)) });
for (const folder of folders) {
  const runner = new Formulas();
  for (const { index, wasm, formula } of JSON.parse(readFileSync(join(folder, "modules.json"), "utf8"))) {
    if (formula) runner.know(index, formula);
    else await runner.add(index, (await compile(bufferOf(join(folder, wasm))))!);
  }
  const core = new Engine(new Uint8Array(bufferOf(join(folder, "release.bin"))), runner, 7, 0);
  const ops = new DataView(bufferOf(join(folder, "ops.bin")));
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
  writeFileSync(join(folder, "out.bin"), Buffer.concat(out));
}

function bufferOf(path: string): ArrayBuffer {
  const file = readFileSync(path);
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer;
}
