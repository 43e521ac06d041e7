// Tells a webhook when a host is fenced.
//
// QuickJS runs it inside the component: no console, no fetch, no clock. Words for operators go to `log`.

import http from "holdfast:host/http@0.1.0";
import log from "holdfast:host/log@0.1.0";

function tell(text) {
  try {
    const { status } = http.send("hook", "post", "/", JSON.stringify({ text }));
    if (status < 200 || status > 299) log.write("warn", `the hook answered ${status}`);
  } catch (error) {
    // What an import throws is { tag, val }, perhaps inside an Error; what is thrown on has to
    // be a string or an Error.
    const { tag, val } = error?.payload ?? error;
    throw `the hook was not told: ${tag}: ${val}`;
  }
}

export const handler = {
  // In the order in which they were written, at least once. Throw why if it did not work.
  handle(events) {
    // Pass over kinds that are not known: there will be more.
    events.filter(({ kind }) => kind === "host-fenced").forEach(({ text }) => tell(text));
  },
};
