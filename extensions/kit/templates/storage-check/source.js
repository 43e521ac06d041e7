// Says whether a storage is there, has room and answers soon.
//
// Setting of a storage: `path`, the granted name of its path (if that is not the storage's own name).
// QuickJS runs it inside the component: no console, no file, no clock. Words for operators go to `log`.

import log from "holdfast:host/log@0.1.0";
import probe from "holdfast:host/probe@0.1.0";

const SLOW_US = 1_000_000;
const LEAST_FREE_BYTES = 2 ** 30;

const yes = { tag: "yes" };
const no = (why) => ({ tag: "no", val: why });
const unknown = (why) => ({ tag: "unknown", val: why });

// What a probe throws: { tag, val }, perhaps inside an Error. Only what was tried and failed is a no.
function failed(error) {
  const cause = error?.payload ?? error;
  return cause?.tag === "failed" ? no(cause.val) : unknown(cause?.val ?? String(error));
}

function usable(path, space) {
  if (space.readOnly) return no("it is read-only");
  if (space.freeBytes < LEAST_FREE_BYTES) return no("it is full");
  const us = probe.readLatency(path);
  return us > SLOW_US ? no(`a read took ${Math.round(us / 1000)} ms`) : yes;
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
