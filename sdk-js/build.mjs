// Builds the package: ESM and CommonJS with types for bundlers and Node.js, IIFE for script elements, each file whole by itself. Says
// how large they are, and fails when one is larger than it may be.
//
//   node build.mjs              into dist/
//   node build.mjs --modules    also each source alone, into dist/modules, for unit tests

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
/** The decision core for pages, where `./x engine` built it; without it there is no local engine. */
const engine = join(root, "engine/pkg/engine.js");
const entries = Object.keys(JSON.parse(readFileSync(join(root, "package.json"))).exports)
  .map((path) => (path === "." ? "index" : path.slice(2)))
  .filter((name) => existsSync(join(root, "src", `${name}.ts`)) && (name !== "local" || existsSync(engine)));
/** The most that a file may have, gzipped. */
const BARS = { "esm/index.js": 7 * 1024, "iife/selvedge.js": 7 * 1024, "esm/openfeature.js": 2 * 1024 };

/** Names that the files of one bundle call each other by: no one outside sees them, so they may be short. */
const INTERNAL = [
  ...["settled", "instant", "sealed", "dirty", "lines", "chars", "drain", "arrive", "leave", "baseUrls", "keep", "cache", "wait"],
  ...["problem", "renew", "once", "want", "begin", "runs", "become", "beside", "member", "entry", "whom", "most", "what"],
  ...["passing", "retryAfterMs", "started", "path", "ask", "seen", "online", "record", "update", "send", "query"],
  ...["start", "early", "happen", "stop", "remove", "of"],
];
/** What a first decision waits for: browsers that know the first line compile all functions while the file comes, not each at its first call. */
const EAGER = new Set(["local.js"]);
const common = {
  absWorkingDir: root,
  bundle: true,
  // Terser goes over it again: names that it gives are packed a twentieth smaller.
  minify: true,
  sourcemap: true,
  target: "es2021",
  mangleProps: new RegExp(`^(${INTERNAL.join("|")})$`),
  logLevel: "warning",
  // The local engine is loaded when somebody asks for it; OpenFeature is the page's own.
  external: ["./local.js", "@openfeature/*"],
};
/** The local engine is a bundle of its own and throws the same failures: one name for all. */
let mangleCache = {};
const bundle = async (options) => {
  const made = await build({ ...common, mangleCache, ...options, write: false });
  mangleCache = made.mangleCache;
  const files = new Map(made.outputFiles.map(({ path, text }) => [path, text]));
  for (const [path, text] of files) {
    if (!path.endsWith(".js")) continue;
    const { code, map } = await minify(text, {
      module: options.format === "esm",
      toplevel: true,
      ecma: 2021,
      compress: { passes: 3 },
      format: EAGER.has(basename(path)) ? { preamble: "//# allFunctionsCalledOnLoad" } : {},
      sourceMap: { content: files.get(`${path}.map`), url: `${basename(path)}.map`, includeSources: true },
    });
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code);
    writeFileSync(`${path}.map`, map);
  }
};
const sources = (names) => names.map((name) => `src/${name}.ts`);

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [createRequire(import.meta.url).resolve("typescript/bin/tsc"), "--project", root], { stdio: "inherit" });
for (const format of ["esm", "cjs"]) {
  await bundle({ format, entryPoints: sources(entries), outdir: `dist/${format}` });
}
// Types of their own, so that TypeScript takes them for what they are.
for (const file of readdirSync(join(dist, "esm")).filter((file) => file.endsWith(".d.ts"))) {
  cpSync(join(dist, "esm", file), join(dist, "cjs", file));
}
writeFileSync(join(dist, "cjs/package.json"), '{"type":"commonjs"}\n');
// Not esbuild's own IIFE, which turns `import()` of the local engine into `require`.
const alone = { banner: { js: "(()=>{" }, footer: { js: "})();" } };
await bundle({ ...alone, format: "esm", entryPoints: { selvedge: "src/selvedge.ts" }, outdir: "dist/iife" });
await bundle({ format: "iife", entryPoints: { snippet: "src/snippet-tag.ts" }, outdir: "dist/iife" });
const hasEngine = entries.includes("local");
if (hasEngine) {
  cpSync(join(root, "engine/pkg/engine_bg.wasm"), join(dist, "engine.wasm"));
  await bundle({ format: "esm", entryPoints: sources(["local"]), outdir: "dist/iife" });
}
if (!hasEngine) {
  // A bundler wants to find the file; whoever asks for the engine is told.
  console.log("without the local engine, which ./x engine builds");
  const message = JSON.stringify("this build of the SDK has no local engine; ./x engine, then npm run build");
  for (const folder of ["esm", "iife"]) writeFileSync(join(dist, folder, "local.js"), `export const createEngine = async () => { throw new Error(${message}); };\n`);
  writeFileSync(join(dist, "cjs/local.js"), `exports.createEngine = async () => { throw new Error(${message}); };\n`);
}
if (process.argv.includes("--modules")) {
  const names = readdirSync(join(root, "src")).filter((name) => name.endsWith(".ts"));
  mkdirSync(join(dist, "modules"), { recursive: true });
  await build({ absWorkingDir: root, format: "esm", target: "es2022", entryPoints: names.map((name) => `src/${name}`), outdir: "dist/modules" });
}

let large = false;
for (const folder of ["esm", "iife"]) {
  for (const file of readdirSync(join(dist, folder)).filter((file) => file.endsWith(".js"))) {
    const bytes = gzipSync(readFileSync(join(dist, folder, file)), { level: 9 }).length;
    const bar = BARS[`${folder}/${file}`];
    console.log(`${folder}/${file}: ${bytes} bytes gzipped${bar ? ` of ${bar}` : ""}`);
    large ||= bar !== undefined && bytes > bar;
  }
}
if (large) {
  console.error("build: larger than it may be");
  process.exit(1);
}
