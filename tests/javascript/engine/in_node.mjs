// The engine of pages in Node.js: `in_node.mjs ENGINE local TASK` does what a task of `local.ts` says and prints what came of it;
// `in_node.mjs ENGINE parity FOLDER...` decides what is in each folder and writes `out.bin` there.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { local } from "./local.mjs";
import { parity } from "./parity.mjs";

const [, , file, what, ...more] = process.argv;
const engine = readFileSync(file);
if (what === "local") {
  console.log(JSON.stringify(await local(JSON.parse(more[0]), engine)));
} else {
  for (const folder of more) {
    const read = async (name) => {
      const file = readFileSync(join(folder, name));
      return file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
    };
    writeFileSync(join(folder, "out.bin"), Buffer.concat(await parity(engine, read)));
  }
}
