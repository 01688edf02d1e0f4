// The API reference of docs/browser-sdk.md, from the types: what stands between its two marks is what this prints.
//
//   node reference.mjs --write   puts it there; the tests compare it

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = dirname(fileURLToPath(import.meta.url));
const BEGIN = "<!-- reference: written by sdk-js/reference.mjs from the types -->";
const END = "<!-- end of the reference -->";
/** What is documented, and where it is declared. */
const PARTS = [
  ["types.ts", ["Client", "Options", "Ask", "Decision", "Choice", "Cause", "Happenings", "Bootstrap", "Problem", "Consent", "Source", "Ready", "Context", "ContextValue"]],
  ["server.ts", ["createServer", "Server", "ServerOptions", "PageRequest", "Page", "Visitor"]],
  ["snippet.ts", ["hide", "Reveal"]],
  ["openfeature.ts", ["SelvedgeProvider"]],
];
const MODULES = { "types.ts": "@selvedge/sdk", "server.ts": "@selvedge/sdk/server", "snippet.ts": "@selvedge/sdk/snippet", "openfeature.ts": "@selvedge/sdk/openfeature" };

/** The comment of a declaration, as one line or several. */
function comment(node) {
  return (node.jsDoc ?? [])
    .map((doc) => (typeof doc.comment === "string" ? doc.comment : ts.getTextOfJSDocComment(doc.comment)))
    .join(" ")
    .trim();
}

function declaration(node, source) {
  const lines = [`#### \`${node.name.text}\``, ""];
  const said = comment(node);
  if (said) lines.push(said, "");
  const text = (part) => source.text.slice(part.getStart(source), part.end).replace(/\s+/g, " ");
  if (ts.isInterfaceDeclaration(node)) {
    lines.push("| member | what |", "|---|---|");
    for (const member of node.members) lines.push(`| \`${text(member).replace(/;$/, "").replaceAll("|", "\\|")}\` | ${comment(member).replace(/\s+/g, " ").replaceAll("|", "\\|")} |`);
  } else if (ts.isClassDeclaration(node)) {
    const made = node.members.find(ts.isConstructorDeclaration);
    lines.push("```ts", `new ${node.name.text}(${made.parameters.map((each) => text(each).replace("private readonly ", "")).join(", ")})`, "```", "", comment(made));
  } else if (ts.isFunctionDeclaration(node)) {
    lines.push("```ts", `${node.name.text}(${node.parameters.map(text).join(", ")}): ${text(node.type)}`, "```");
  } else {
    lines.push("```ts", text(node).replace(/^export /, ""), "```");
  }
  return [...lines, ""];
}

export function reference() {
  const lines = [BEGIN, ""];
  for (const [file, names] of PARTS) {
    const source = ts.createSourceFile(file, readFileSync(join(root, "src", file), "utf8"), ts.ScriptTarget.ES2020, false);
    lines.push(`### \`${MODULES[file]}\``, "");
    if (file === "types.ts") lines.push("`createClient(options: Options): Client`", "");
    for (const name of names) {
      const node = source.statements.find((statement) => statement.name?.text === name);
      if (!node) throw new Error(`${file} declares no ${name}`);
      lines.push(...declaration(node, source));
    }
  }
  return [...lines, END].join("\n");
}

/** What stands in the page, and the page with what should. */
export function compare(page) {
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END) + END.length;
  if (from < 0 || to < from) throw new Error(`the page has no ${BEGIN}`);
  return { found: page.slice(from, to), mended: page.slice(0, from) + reference() + page.slice(to) };
}

if (process.argv.includes("--write")) {
  const file = join(root, "../docs/browser-sdk.md");
  writeFileSync(file, compare(readFileSync(file, "utf8")).mended);
}
