"""Prefers the host with the largest part of its CPUs left. CPython runs it inside the component."""

from wit_world import exports
from wit_world.imports.types import Judgement


class Rule(exports.Rule):
    def prepare(self, hosts):
        """Names, sites and labels of hosts make no difference to it."""

    def judge(self, vm, candidates):
        """Refuses nobody; a number from 0 to 100 for each candidate, in their order."""
        counts = zip(candidates.vcpus, candidates.vcpus_used)
        return Judgement([], [max(0.0, 100 - 100 * used / all) if all else 0.0 for all, used in counts])
