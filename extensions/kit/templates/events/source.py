"""Tells a webhook when hosts are fenced.

CPython runs it inside the component: no file, no socket, no print. Words for operators go to `log`.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Event
from wit_world.imports import http, log


class Handler(exports.Handler):
    def handle(self, events: list[Event]) -> None:
        """In the order in which they were written, at least once. Raise `Err("why")` if it did not work."""
        # Pass over kinds that are not known: there will be more.
        fenced = [event.text for event in events if event.kind == "host-fenced"]
        # All in one request, since a site's loss has hundreds and a call may send few.
        if fenced:
            tell(json.dumps({"text": "\n".join(fenced)}))


def tell(body: str) -> None:
    try:
        answer = http.send("hook", http.Method.POST, "/", body)
    except Err as error:
        raise Err(f"the hook was not told: {error.value.value}") from None
    # What it did not take, nobody was told: the same events come again.
    if not 200 <= answer.status <= 299:
        raise Err(f"the hook answered {answer.status}")
    log.write(log.Level.INFO, "the hook was told")
