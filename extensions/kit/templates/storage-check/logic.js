// What looks at a storage mean. Nothing of Holdfast is imported here, so that `node --test` can ask it.

const SLOW_US = 1_000_000;
const LEAST_FREE_BYTES = 2 ** 30;

export const yes = { tag: "yes" };
const no = (why) => ({ tag: "no", val: why });
export const unknown = (why) => ({ tag: "unknown", val: why });

// Whether machines could write there.
export function room({ readOnly, freeBytes }) {
  if (readOnly) return no("it is read-only");
  return freeBytes < LEAST_FREE_BYTES ? no("it is full") : yes;
}

// Whether a read that took so long was soon enough.
export function soon(us) {
  return us > SLOW_US ? no(`a read took ${Math.round(us / 1000)} ms`) : yes;
}

// What is learned from a look that failed. What an import throws is an Error: `payload` is { tag, val }. Only what was
// tried and failed is a no.
export function failed(error) {
  return error.payload?.tag === "failed" ? no(error.payload.val) : unknown(error.payload?.val ?? error.message);
}
