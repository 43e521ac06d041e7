import assert from "node:assert/strict";
import test from "node:test";

import { decide } from "../lib/logic.js";

const known = [
  { name: "a1", site: "a", labels: [{ key: "gpu", value: "yes" }] },
  { name: "b1", site: "b", labels: [] },
];
const candidates = { hosts: [0, 1], vms: [3, 0] };

test("only hosts with the label that is needed may", () => {
  const vm = { name: "web1", labels: [{ key: "needs", value: "gpu" }] };
  assert.deepEqual(decide(known, vm, candidates).refused, [{ candidate: 1, why: "it has no label `gpu`" }]);
});

test("emptier hosts come first", () => {
  assert.deepEqual(decide(known, { name: "web1", labels: [] }, candidates), { refused: [], scores: [97, 100] });
});
