"""Says whether a storage is there, has room and answers soon.

Setting of a storage: `path`, the granted name of its path (if that is not the storage's own name).
CPython runs it inside the component: no file, no clock, no print. Words for operators go to `log`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.check import Answer, Answer_No, Answer_Unknown, Answer_Yes, Domain, Findings
from wit_world.imports import log, probe

SLOW_US = 1_000_000
LEAST_FREE_BYTES = 2**30


def failed(error: probe.Error) -> Answer:
    # Only what was tried and failed is a no: of no such name, and of no answer, nothing was learned.
    return Answer_No(error.value) if isinstance(error, probe.Error_Failed) else Answer_Unknown(error.value)


def usable(path: str, free_bytes: int, read_only: bool) -> Answer:
    if read_only:
        return Answer_No("it is read-only")
    if free_bytes < LEAST_FREE_BYTES:
        return Answer_No("it is full")
    try:
        latency_us = probe.read_latency(path)
    except Err as error:
        return failed(error.value)
    return Answer_No(f"a read took {latency_us // 1000} ms") if latency_us > SLOW_US else Answer_Yes()


class Check(exports.Check):
    def check(self, domain: Domain) -> Findings:
        path = next((each.value for each in domain.settings if each.name == "path"), domain.name)
        # Say yes only of what was looked at: VMs return to a site on this word.
        synced = Answer_Unknown("not looked at")
        try:
            space = probe.usage(path)
        except Err as error:
            log.write(log.Level.WARN, f"{domain.name} is not reachable")
            return Findings(failed(error.value), failed(error.value), synced)
        return Findings(Answer_Yes(), usable(path, space.free_bytes, space.read_only), synced)
