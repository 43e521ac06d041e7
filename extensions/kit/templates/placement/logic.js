// The rule itself. Nothing of Holdfast is imported here, so that `node --test` can ask it.

const label = (labels, key) => labels.find((label) => label.key === key)?.value;

export function decide(known, vm, candidates) {
  const needed = label(vm.labels, "needs");
  const refused = [];
  if (needed !== undefined) {
    candidates.hosts.forEach((host, candidate) => {
      if (label(known[host].labels, needed) === undefined) {
        refused.push({ candidate, why: `it has no label \`${needed}\`` });
      }
    });
  }
  return { refused, scores: candidates.vms.map((vms) => 100 - Math.min(100, vms)) };
}
