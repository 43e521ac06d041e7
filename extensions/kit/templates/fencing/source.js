// Switches hosts off by their management boards, over Redfish.
//
// A device binds `bmc` to its board. Settings: `system` (if it is not `1`).
// QuickJS runs it inside the component: no console, no fetch, no clock. Words for operators go to `log`.

import http from "holdfast:host/http@0.1.0";
import log from "holdfast:host/log@0.1.0";

const setting = (device, name, otherwise) =>
  device.settings.find((each) => each.name === name)?.value ?? otherwise;
// As [rights.http] in extension.toml calls it.
const BOARD = "bmc";
const system = (device) => `/redfish/v1/Systems/${setting(device, "system", "1")}`;

// What `http.send` throws: { tag, val }, perhaps inside an Error.
const thrown = (error) => error?.payload ?? error;
const words = (error) => {
  const cause = thrown(error);
  return cause?.tag ? `${cause.tag}: ${cause.val}` : String(error);
};
// These were certainly not sent.
const UNSENT = ["no-target", "not-allowed", "too-many", "unreachable"];

function reset(device, kind) {
  const path = `${system(device)}/Actions/ComputerSystem.Reset`;
  try {
    const { status } = http.send(BOARD, "post", path, JSON.stringify({ ResetType: kind }));
    if (status >= 200 && status < 300) return { tag: "accepted" };
    const said = `the board answered ${status}`;
    return { tag: status >= 400 && status < 500 ? "refused" : "unknown", val: said };
  } catch (error) {
    // Only one that is unanswered may have been done; of what is no error of `http.send` nobody knows either.
    return { tag: UNSENT.includes(thrown(error)?.tag) ? "refused" : "unknown", val: words(error) };
  }
}

export const fence = {
  off(device) {
    log.write("info", `switching ${device.host} off`);
    return reset(device, "ForceOff");
  },

  on(device) {
    return reset(device, "On");
  },

  status(device) {
    try {
      const { status, body } = http.send(BOARD, "get", system(device), null);
      if (status !== 200) return { tag: "unknown", val: `the board answered ${status}` };
      // Only these very words: whatever else a board says is not known to be off.
      const state = JSON.parse(body).PowerState;
      if (state === "On") return { tag: "on" };
      if (state === "Off") return { tag: "off" };
      return { tag: "unknown", val: `the board says ${state}` };
    } catch (error) {
      return { tag: "unknown", val: words(error) };
    }
  },
};
