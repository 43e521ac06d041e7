// Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.
//
// QuickJS runs it inside the component: no console, no file, no clock. Words for operators go to `log`.

import log from "holdfast:host/log@0.1.0";

const label = (labels, key) => labels.find((label) => label.key === key)?.value;

export const filter = {
  // One verdict for each candidate, in their order. To say that no answer is possible, throw why.
  filter(vm, candidates) {
    const needed = label(vm.labels, "needs");
    if (needed === undefined) return candidates.map(() => ({ tag: "may" }));
    log.write("debug", `${vm.name} needs ${needed}`);
    return candidates.map((host) =>
      label(host.labels, needed) === undefined
        ? { tag: "may-not", val: `it has no label \`${needed}\`` }
        : { tag: "may" },
    );
  },
};

export const score = {
  // From 0 to 100 for each candidate, in their order: the higher, the rather.
  score(vm, candidates) {
    return candidates.map((host) => 100 - Math.min(100, host.vms));
  },
};
