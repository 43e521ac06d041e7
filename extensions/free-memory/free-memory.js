// Prefers the host with the largest part of its memory left, so that machines spread by load.
//
// QuickJS runs it inside the component. There is no clock, no file, no console and no network.

export const score = {
  // A number from 0 to 100 for each candidate, in their order.
  score(vm, candidates) {
    return candidates.map(({ memoryMib, memoryFreeMib }) =>
      memoryMib === 0 ? 0 : Math.min(100, (100 * memoryFreeMib) / memoryMib),
    );
  },
};
