import assert from "node:assert/strict";
import test from "node:test";

import { message } from "../lib/logic.js";

test("all that is told is one message", () => {
  const events = [
    { kind: "host-fenced", text: "a1 is off" },
    { kind: "of-tomorrow", text: "odd" },
    { kind: "host-fenced", text: "a2 is off" },
  ];
  assert.deepEqual(message(events), { text: "a1 is off\na2 is off" });
});

test("of nothing nothing is told", () => {
  assert.equal(message([]), null);
  assert.equal(message([{ kind: "note", text: "x" }]), null);
});
