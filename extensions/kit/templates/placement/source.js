// Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.
//
// QuickJS runs it inside the component: no console, no file, no clock. Words for operators go to `log`.

import log from "holdfast:host/log@0.1.0";

import { decide } from "./lib/logic.js";

// All that may be kept from one question to the next.
let known = [];

export const rule = {
  // The hosts that questions are about from now on. What can be worked out of their labels is worked out here.
  prepare(hosts) {
    known = hosts;
  },

  // Which candidates may not, by their positions, and a number from 0 to 100 for each of them: the higher, the rather.
  // To say that no answer is possible, throw why.
  judge(vm, candidates) {
    const judgement = decide(known, vm, candidates);
    if (judgement.refused.length > 0) log.write("debug", `${vm.name}: ${judgement.refused.length} refused`);
    return judgement;
  },
};
