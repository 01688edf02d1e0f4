// Runs modules in V8, as a browser does: the core module of each, without its component. In the folder that is named stand
// modules.json, a list of {shared, candidate, outputs, rows}, and for its entry n the files n.wasm and n.rows.f64 (a call of one
// candidate a row: the shared columns, then the candidate's); n.answers.f64 is written beside them.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const EVALUATE = "selvedge:decision/module@1.0.0#evaluate";

function evaluate({ memory, cabi_realloc, [EVALUATE]: call, [`cabi_post_${EVALUATE}`]: free }, shared, candidate) {
  const lower = (numbers) => {
    const at = cabi_realloc(0, 0, 8, 8 * numbers.length);
    new Float64Array(memory.buffer, at, numbers.length).set(numbers);
    return [at, numbers.length];
  };
  const answer = call(...lower(shared), ...lower(candidate), 1);
  const view = new DataView(memory.buffer);
  const [failed, at, length] = [view.getUint8(answer), view.getUint32(answer + 4, true), view.getUint32(answer + 8, true)];
  if (failed) throw new Error(new TextDecoder().decode(new Uint8Array(memory.buffer, at, length)));
  const numbers = new Float64Array(memory.buffer, at, length).slice();
  free(answer);
  return numbers;
}

const folder = process.argv[2];
const modules = JSON.parse(readFileSync(join(folder, "modules.json"), "utf8"));
for (const [n, { shared, candidate, outputs, rows }] of modules.entries()) {
  const { instance } = await WebAssembly.instantiate(readFileSync(join(folder, `${n}.wasm`)));
  const bytes = readFileSync(join(folder, `${n}.rows.f64`));
  const values = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const answers = new Float64Array(rows * outputs);
  const width = shared + candidate;
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    const own = values.subarray(from + shared, from + width);
    answers.set(evaluate(instance.exports, values.subarray(from, from + shared), own), row * outputs);
  }
  writeFileSync(join(folder, `${n}.answers.f64`), new Uint8Array(answers.buffer));
}
