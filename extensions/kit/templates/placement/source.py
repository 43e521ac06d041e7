"""Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.

CPython runs it inside the component: no file, no clock, no print. Words for operators go to `log`.
"""

from wit_world import exports
from wit_world.imports import log
from wit_world.imports.types import Candidates, Judgement, KnownHost, Label, Refusal, Vm

# All that may be kept from one question to the next.
known: list[KnownHost] = []


def label(labels: list[Label], key: str) -> str | None:
    return next((each.value for each in labels if each.key == key), None)


class Rule(exports.Rule):
    def prepare(self, hosts: list[KnownHost]) -> None:
        """The hosts that questions are about from now on. What can be worked out of their labels is worked out here."""
        global known
        known = hosts

    def judge(self, vm: Vm, candidates: Candidates) -> Judgement:
        """Which candidates may not, by their positions, and a number from 0 to 100 for each of them: the higher, the
        rather. To say that no answer is possible, raise `componentize_py_types.Err("why")`."""
        needed = label(vm.labels, "needs")
        refused: list[Refusal] = []
        if needed is not None:
            log.write(log.Level.DEBUG, f"{vm.name} needs {needed}")
            refused = [
                Refusal(at, f"it has no label `{needed}`")
                for at, host in enumerate(candidates.hosts)
                if label(known[host].labels, needed) is None
            ]
        return Judgement(refused, [100.0 - min(100, vms) for vms in candidates.vms])
