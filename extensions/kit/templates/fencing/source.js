// Switches hosts off by their management boards, over Redfish.
//
// A device binds `bmc` to its board. Settings: `system` (if it is not `1`).
// QuickJS runs it inside the component: no console, no fetch, no clock. Words for operators go to `log`.

import http from "holdfast:host/http@0.1.0";
import log from "holdfast:host/log@0.1.0";

import { ordered, power, system, without } from "./lib/logic.js";

// As [rights.http] in extension.toml calls it.
const BOARD = "bmc";

function reset(device, kind) {
  const path = `${system(device)}/Actions/ComputerSystem.Reset`;
  try {
    return ordered(http.send(BOARD, "post", path, JSON.stringify({ ResetType: kind })));
  } catch (error) {
    return without(error);
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
      return power(http.send(BOARD, "get", system(device), null));
    } catch (error) {
      return { tag: "unknown", val: error.message };
    }
  },
};
