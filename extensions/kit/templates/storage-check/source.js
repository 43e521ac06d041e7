// Says whether a storage is there, has room and answers soon.
//
// Setting of a storage: `path`, the granted name of its path (if that is not the storage's own name).
// QuickJS runs it inside the component: no console, no file, no clock. Words for operators go to `log`.

import log from "holdfast:host/log@0.1.0";
import probe from "holdfast:host/probe@0.1.0";

import { failed, room, soon, unknown, yes } from "./lib/logic.js";

function usable(path, space) {
  const answer = room(space);
  return answer.tag === "yes" ? soon(probe.readLatency(path)) : answer;
}

export const check = {
  check(domain) {
    const path = domain.settings.find(({ name }) => name === "path")?.value ?? domain.name;
    // Say yes only of what was looked at: VMs return to a site on this word.
    const findings = { reachable: yes, usable: yes, synced: unknown("not looked at") };
    let space;
    try {
      space = probe.usage(path);
    } catch (error) {
      log.write("warn", `${domain.name} is not reachable`);
      return { ...findings, reachable: failed(error), usable: failed(error) };
    }
    try {
      return { ...findings, usable: usable(path, space) };
    } catch (error) {
      return { ...findings, usable: failed(error) };
    }
  },
};
