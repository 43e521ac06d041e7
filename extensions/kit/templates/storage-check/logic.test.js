import assert from "node:assert/strict";
import test from "node:test";

import { failed, room, soon, yes } from "../lib/logic.js";

test("there has to be room", () => {
  assert.deepEqual(room({ readOnly: false, freeBytes: 2 ** 40 }), yes);
  assert.deepEqual(room({ readOnly: true, freeBytes: 2 ** 40 }), { tag: "no", val: "it is read-only" });
  assert.deepEqual(room({ readOnly: false, freeBytes: 1 }), { tag: "no", val: "it is full" });
});

test("a read has to be soon", () => {
  assert.deepEqual(soon(900), yes);
  assert.deepEqual(soon(2_000_000), { tag: "no", val: "a read took 2000 ms" });
});

test("only what was tried and failed is a no", () => {
  const thrown = (tag) => Object.assign(Error(`${tag}: why`), { payload: { tag, val: "why" } });
  assert.deepEqual(failed(thrown("failed")), { tag: "no", val: "why" });
  assert.deepEqual(failed(thrown("timed-out")), { tag: "unknown", val: "why" });
  assert.deepEqual(failed(Error("odd")), { tag: "unknown", val: "odd" });
});
