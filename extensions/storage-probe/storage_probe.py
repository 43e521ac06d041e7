"""Says whether a storage is there, has room, answers soon, and has the same at both sites.

Settings of a storage, all of them optional:

- `path`: the granted name of its path, if it is not called as the storage is
- `max_read_ms` (500): a read of 4 KiB past all caches that takes longer makes it not usable
- `min_free_mib` (1024): with less room it is not usable
- `sync_command`: the granted name of a command that ends with 0 if both sites have the same and with 1 if they
  have not; anything else, and no command, is unknown
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.check import Answer, Answer_No, Answer_Unknown, Answer_Yes, Domain, Findings
from wit_world.imports import log, probe


class Check(exports.Check):
    def check(self, domain: Domain) -> Findings:
        settings = {each.name: each.value for each in domain.settings}
        path = settings.get("path", domain.name)
        try:
            limits = int(settings.get("max_read_ms", 500)), int(settings.get("min_free_mib", 1024))
        except ValueError as error:
            log.write(log.Level.ERROR, f"{domain.name}: {error}")
            odd = Answer_Unknown("a setting that has to be a number is none")
            return Findings(odd, odd, odd)
        try:
            space = probe.usage(path)
        except Err as error:
            there = failed(error.value)
            return Findings(there, there, synced(settings))
        return Findings(Answer_Yes(), usable(path, space, *limits), synced(settings))


def failed(error: probe.Error) -> Answer:
    """Only what was tried and failed is a no: where there is no such name, or no answer, nothing was learned."""
    return Answer_No(error.value) if isinstance(error, probe.Error_Failed) else Answer_Unknown(error.value)


def usable(path: str, space: probe.Space, max_read_ms: int, min_free_mib: int) -> Answer:
    if space.read_only:
        return Answer_No("it is read-only")
    free_mib = space.free_bytes >> 20
    if free_mib < min_free_mib:
        return Answer_No(f"{free_mib} MiB are free, less than {min_free_mib}")
    try:
        read_ms = probe.read_latency(path) / 1000
    except Err as error:
        return failed(error.value)
    if read_ms > max_read_ms:
        return Answer_No(f"a read took {read_ms:.0f} ms, more than {max_read_ms}")
    return Answer_Yes()


def synced(settings: dict[str, str]) -> Answer:
    command = settings.get("sync_command")
    if command is None:
        return Answer_Unknown("no `sync_command` is set")
    try:
        ended = probe.command(command)
    except Err as error:
        # Whatever it was that failed, nobody said that the sites differ.
        return Answer_Unknown(error.value.value)
    said = (ended.stdout or ended.stderr).strip().splitlines()
    why = said[-1] if said else f"`{command}` said nothing"
    match ended.exit_code:
        case 0:
            return Answer_Yes()
        case 1:
            return Answer_No(why)
        case code:
            return Answer_Unknown(f"`{command}` ended with {code}: {why}")
