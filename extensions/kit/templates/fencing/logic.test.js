import assert from "node:assert/strict";
import test from "node:test";

import { ordered, power, system, without } from "../lib/logic.js";

test("the system is a setting", () => {
  assert.equal(system({ settings: [] }), "/redfish/v1/Systems/1");
  assert.equal(system({ settings: [{ name: "system", value: "blade7" }] }), "/redfish/v1/Systems/blade7");
});

test("an order is taken, refused, or nobody knows", () => {
  assert.equal(ordered({ status: 204 }).tag, "accepted");
  assert.equal(ordered({ status: 403 }).tag, "refused");
  assert.equal(ordered({ status: 500 }).tag, "unknown");
});

test("only what was certainly not sent is refused", () => {
  const thrown = (tag) => Object.assign(Error(`${tag}: why`), { payload: { tag, val: "why" } });
  assert.deepEqual(without(thrown("unreachable")), { tag: "refused", val: "unreachable: why" });
  assert.deepEqual(without(thrown("unanswered")), { tag: "unknown", val: "unanswered: why" });
  assert.equal(without(TypeError("odd")).tag, "unknown");
});

test("only the very word is off", () => {
  const said = (state) => power({ status: 200, body: JSON.stringify({ PowerState: state }) }).tag;
  assert.deepEqual(["On", "Off"].map(said), ["on", "off"]);
  assert.deepEqual(["off", "PoweringOff", undefined].map(said), ["unknown", "unknown", "unknown"]);
  assert.equal(power({ status: 503, body: "" }).tag, "unknown");
});
