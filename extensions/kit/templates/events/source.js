// Tells a webhook when hosts are fenced.
//
// QuickJS runs it inside the component: no console, no fetch, no clock. Words for operators go to `log`.

import http from "holdfast:host/http@0.1.0";
import log from "holdfast:host/log@0.1.0";

import { message } from "./lib/logic.js";

// What an import throws is an Error: `message` has its words, `payload` is { tag, val }.
function tell(body) {
  try {
    return http.send("hook", "post", "/", JSON.stringify(body));
  } catch (error) {
    throw `the hook was not told: ${error.message}`;
  }
}

export const handler = {
  // In the order in which they were written, at least once. Throw why if it did not work.
  handle(events) {
    const body = message(events);
    if (body === null) return;
    const { status } = tell(body);
    // What it did not take, nobody was told: the same events come again.
    if (status < 200 || status > 299) throw `the hook answered ${status}`;
    log.write("info", "the hook was told");
  },
};
