// docs/browser-sdk.md says what the types say.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { compare, reference } from "../reference.mjs";

test("the reference in the documentation is that of the types", () => {
  const repository = process.env.SELVEDGE_REPOSITORY ?? fileURLToPath(new URL("../..", import.meta.url));
  const { found } = compare(readFileSync(join(repository, "docs/browser-sdk.md"), "utf8"));
  assert.equal(found, reference(), "run: npm run reference");
});
