// Runs a release's modules in the page: the core module of each, which the node lifted out of its component. One instance of each is
// kept, as a module that is for browsers keeps no state between calls; one that trapped is made anew.

import { FAULTS } from "./postcard.js";

const EVALUATE = "selvedge:decision/module@1.0.0#evaluate";
/** The smallest module. */
const EMPTY = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

/** A module's exports, by the canonical ABI. */
interface Exports {
  memory: WebAssembly.Memory;
  cabi_realloc(old: number, oldBytes: number, align: number, bytes: number): number;
  [evaluate: `selvedge:${string}`]: (...args: number[]) => number;
  [free: `cabi_post_${string}`]: (answer: number) => void;
}

interface Running {
  module: WebAssembly.Module;
  exports: Exports | null;
}

/** By a fault's name, the number by which the engine knows it; 0 is none. */
const code = (fault: string) => FAULTS.indexOf(fault) + 1;

/** What the engine calls. */
export class Runner {
  private readonly modules = new Map<number, Running>();

  /** Makes module `index` of the release ready. */
  async add(index: number, module: WebAssembly.Module): Promise<void> {
    const running: Running = { module, exports: null };
    try {
      running.exports = exportsOf(new WebAssembly.Instance(module));
    } catch (error) {
      // Chrome makes a large one only while the page goes on.
      if (!(error instanceof RangeError)) throw error;
      await instantiate(running);
    }
    this.modules.set(index, running);
  }

  /** As the engine asks it: writes the answer into `out`; 0, or why it did not answer. Never throws. */
  run(index: number, shared: Float64Array, candidates: Float64Array, count: number, out: Float64Array): number {
    const running = this.modules.get(index);
    if (!running?.exports) return code("open");
    try {
      return evaluate(running.exports, shared, candidates, count, out);
    } catch (error) {
      // Nobody knows what a trap left behind. Meanwhile, the next rung answers.
      running.exports = null;
      void instantiate(running).catch(() => {});
      const isMemory = error instanceof RangeError;
      return code(isMemory ? "memory" : "trap");
    }
  }
}

async function instantiate(running: Running): Promise<void> {
  running.exports = exportsOf(await WebAssembly.instantiate(running.module));
}

function exportsOf({ exports }: WebAssembly.Instance): Exports {
  return exports as unknown as Exports;
}

function evaluate(of: Exports, shared: Float64Array, candidates: Float64Array, count: number, out: Float64Array): number {
  const lower = (numbers: Float64Array): [number, number] => {
    const at = of.cabi_realloc(0, 0, 8, 8 * numbers.length);
    new Float64Array(of.memory.buffer, at, numbers.length).set(numbers);
    return [at, numbers.length];
  };
  const answer = of[EVALUATE]!(...lower(shared), ...lower(candidates), count);
  const view = new DataView(of.memory.buffer);
  const failed = view.getUint8(answer);
  const [at, length] = [view.getUint32(answer + 4, true), view.getUint32(answer + 8, true)];
  const fits = length === out.length;
  if (!failed && fits) out.set(new Float64Array(of.memory.buffer, at, length));
  of[`cabi_post_${EVALUATE}`]!(answer);
  return failed ? code("refused") : fits ? 0 : code("bad_output");
}

/** Throws in a page without WebAssembly, and in one whose policy forbids it. */
export function canCompile(): void {
  try {
    new WebAssembly.Module(EMPTY);
  } catch (error) {
    const { name, message } = error as Error;
    // Browsers name other remedies, or none.
    throw name === "CompileError" ? new Error(`${message}; 'wasm-unsafe-eval' in the policy's script-src allows it`) : error;
  }
}

/** Compiles what was fetched as WebAssembly; nothing when it is none: servers like to answer with a page. */
export async function compile(fetched: Response | BufferSource): Promise<WebAssembly.Module | null> {
  try {
    if ("arrayBuffer" in fetched) {
      // While it comes, and from what the browser kept of the last time it compiled it; a `fetch` of somebody else's may not do for that.
      const streams = fetched.headers.get("Content-Type") === "application/wasm" && fetched instanceof Response && "compileStreaming" in WebAssembly;
      if (streams) return await WebAssembly.compileStreaming(fetched);
      fetched = await fetched.arrayBuffer();
    }
    return await WebAssembly.compile(fetched);
  } catch (error) {
    // A page that may not compile anything was told before.
    if (error instanceof WebAssembly.CompileError) return null;
    throw error;
  }
}
