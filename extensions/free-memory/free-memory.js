// Prefers the host with the largest part of its memory left, so that machines spread by load.
//
// QuickJS runs it inside the component. There is no clock, no file, no console and no network.

export const rule = {
  // Names, sites and labels of hosts make no difference to it.
  prepare() {},

  // Refuses nobody; a number from 0 to 100 for each candidate, in their order.
  judge(vm, { memoryMib, memoryFreeMib }) {
    const score = (mib, at) => (mib === 0 ? 0 : Math.min(100, (100 * memoryFreeMib[at]) / mib));
    return { refused: [], scores: memoryMib.map(score) };
  },
};
