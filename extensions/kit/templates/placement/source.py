"""Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.

CPython runs it inside the component: no file, no clock, no print. Words for operators go to `log`.
"""

from wit_world import exports
from wit_world.imports import log
from wit_world.imports.types import Candidate, Label, Verdict, Verdict_May, Verdict_MayNot, Vm


def label(labels: list[Label], key: str) -> str | None:
    return next((each.value for each in labels if each.key == key), None)


class Filter(exports.Filter):
    def filter(self, vm: Vm, candidates: list[Candidate]) -> list[Verdict]:
        """One verdict for each candidate, in their order. To say that no answer is possible, raise
        `componentize_py_types.Err("why")`."""
        needed = label(vm.labels, "needs")
        if needed is None:
            return [Verdict_May() for _ in candidates]
        log.write(log.Level.DEBUG, f"{vm.name} needs {needed}")
        return [
            Verdict_MayNot(f"it has no label `{needed}`") if label(host.labels, needed) is None else Verdict_May()
            for host in candidates
        ]


class Score(exports.Score):
    def score(self, vm: Vm, candidates: list[Candidate]) -> list[float]:
        """From 0 to 100 for each candidate, in their order: the higher, the rather."""
        return [100.0 - min(100, host.vms) for host in candidates]
