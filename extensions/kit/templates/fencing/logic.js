// What a board is asked, and what its answers mean. Nothing of Holdfast is imported here, so that `node --test` can ask
// it.

const setting = (device, name, otherwise) =>
  device.settings.find((each) => each.name === name)?.value ?? otherwise;
export const system = (device) => `/redfish/v1/Systems/${setting(device, "system", "1")}`;

// What became of an order that was answered.
export function ordered({ status }) {
  if (status >= 200 && status < 300) return { tag: "accepted" };
  return { tag: status >= 400 && status < 500 ? "refused" : "unknown", val: `the board answered ${status}` };
}

// With these it was certainly not sent.
const UNSENT = ["no-target", "not-allowed", "too-many", "unreachable"];

// What became of an order without an answer. What an import throws is an Error: `message` has its words, `payload` is
// { tag, val }.
export function without(error) {
  // Only one that is unanswered may have been done; of what is no error of `http.send` nobody knows either.
  return { tag: UNSENT.includes(error.payload?.tag) ? "refused" : "unknown", val: error.message };
}

// How the power stands by what the board says. What is not JSON is thrown.
export function power({ status, body }) {
  if (status !== 200) return { tag: "unknown", val: `the board answered ${status}` };
  // Only these very words: whatever else a board says is not known to be off.
  const state = JSON.parse(body)?.PowerState;
  if (state === "On") return { tag: "on" };
  if (state === "Off") return { tag: "off" };
  return { tag: "unknown", val: `the board says ${state}` };
}
