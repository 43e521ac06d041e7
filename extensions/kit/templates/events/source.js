// Tells a webhook when a host is fenced.
//
// QuickJS runs it inside the component: no console, no fetch, no clock. Words for operators go to `log`.

import http from "holdfast:host/http@0.1.0";
import log from "holdfast:host/log@0.1.0";

function tell(text) {
  let status;
  try {
    ({ status } = http.send("hook", "post", "/", JSON.stringify({ text })));
  } catch (error) {
    // What an import throws is { tag, val }, perhaps inside an Error; what is thrown on has to
    // be a string or an Error.
    const { tag, val } = error?.payload ?? error;
    throw `the hook was not told: ${tag}: ${val}`;
  }
  // What it did not take, nobody was told: the same events come again.
  if (status < 200 || status > 299) throw `the hook answered ${status}`;
  log.write("info", "the hook was told");
}

export const handler = {
  // In the order in which they were written, at least once. Throw why if it did not work.
  handle(events) {
    // Pass over kinds that are not known: there will be more.
    events.filter(({ kind }) => kind === "host-fenced").forEach(({ text }) => tell(text));
  },
};
