// Tells a webhook when a host is fenced.
//
// QuickJS runs it inside the component: no console, no fetch, no clock. Words for operators go to `log`.

import http from "holdfast:host/http@0.1.0";
import log from "holdfast:host/log@0.1.0";

export const handler = {
  // In the order in which they were written, at least once. Throw why to say that it did not work.
  handle(events) {
    // Pass over kinds that are not known: there will be more.
    for (const event of events.filter(({ kind }) => kind === "host-fenced")) {
      const { status } = http.send("hook", "post", "/", JSON.stringify({ text: event.text }));
      if (status < 200 || status > 299) log.write("warn", `the hook answered ${status}`);
    }
  },
};
