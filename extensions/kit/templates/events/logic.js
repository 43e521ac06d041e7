// What is told of events. Nothing of Holdfast is imported here, so that `node --test` can ask it.

// All of them in one message, since a site's loss has hundreds and a call may send few requests; null if there is
// nothing to tell.
export function message(events) {
  // Pass over kinds that are not known: there will be more.
  const fenced = events.filter(({ kind }) => kind === "host-fenced");
  return fenced.length === 0 ? null : { text: fenced.map(({ text }) => text).join("\n") };
}
