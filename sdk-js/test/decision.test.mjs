// What a page reads of an answer, case by case.

import assert from "node:assert/strict";
import test from "node:test";
import { asks, isEntry, read, seen } from "../dist/modules/decision.js";

const decided = (choices, more = {}) => ({ decision_id: "d-1", placement: "hero", release: "sha256:1", reason: "SCORED", arm: null, choices, ...more });
const of = (choices, fallback, more) => read("hero", fallback, { entry: decided(choices, more), source: "fresh" });
const choice = (id, payload) => ({ id, score: 1, propensity: 1, ...(payload === undefined ? {} : { payload }) });

test("the value is the first choice's payload, else its id, else the default", () => {
  for (const [choices, fallback, value] of [
    [[choice("vip", { banner: "vip.svg" })], { banner: "plain.svg" }, { banner: "vip.svg" }],
    [[choice("dark"), choice("light")], "light", "dark"],
    [[choice("on", false)], true, false],
    [[choice("some", 0)], 24, 0],
    [[], "code", "code"],
    [[choice("dark")], undefined, "dark"],
  ]) {
    const decision = of(choices, fallback);
    assert.deepEqual(decision.value, value);
    assert.equal(decision.error, undefined);
    assert.deepEqual(decision.ids, choices.map(({ id }) => id));
  }
});

test("a value of another type than the default is none", () => {
  for (const [payload, fallback] of [["vip", {}], [{ a: 1 }, "x"], [[1], {}], [1, true], ["1", 1], [{ a: 1 }, []]]) {
    const decision = of([choice("vip", payload)], fallback);
    assert.deepEqual(decision.value, fallback);
    assert.equal(decision.error.code, "type_mismatch");
  }
});

test("without an answer it is the default, and says why", () => {
  const why = { code: "unreachable", message: "down" };
  for (const [held, error] of [
    [undefined, why],
    [{ entry: { placement: "hero", error: { code: "unknown_placement", message: "no" } }, source: "fresh" }, { code: "unknown_placement", message: "no" }],
  ]) {
    const decision = read("hero", 7, held, why);
    assert.deepEqual([decision.value, decision.source, decision.reason, decision.error], [7, "default", "DEFAULT", error]);
  }
});

test("what was stored or handed on may be anything", () => {
  for (const entry of [null, 1, {}, { placement: 1 }, { placement: "a" }, { placement: "a", choices: [] }, { placement: "a", error: "x" }]) {
    assert.equal(isEntry(entry), false, JSON.stringify(entry));
  }
  assert.ok(isEntry(decided([])) && isEntry({ placement: "a", error: { code: "x", message: "" } }));
  assert.deepEqual(asks(["a", { placement: "b", slots: 2 }, null, 7, {}]), [{ placement: "a" }, { placement: "b", slots: 2 }]);
  assert.deepEqual([asks("hero"), asks(undefined), asks(7)], [[{ placement: "hero" }], [], []]);
});

test("another id or score is nothing that a visitor sees", () => {
  const one = seen(decided([choice("a")]));
  assert.equal(seen({ ...decided([{ ...choice("a"), score: 2 }]), decision_id: "d-2" }), one);
  for (const other of [decided([choice("b")]), decided([choice("a", 1)]), decided([choice("a")], { arm: "x" }), decided([choice("a")], { values: { m: 1 } })]) {
    assert.notEqual(seen(other), one);
  }
});
