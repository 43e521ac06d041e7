"""Stands between an extension and its host, and says in words what would otherwise be a trap without any.

It is the module that a component is made of. The kit puts before it what it knows: `MAIN`, the author's module;
`EXPORTS` and `IMPORTS`, the functions of the world, with their types. Behind it come the classes. When the component is
built it looks whether what the world exports is there; when the extension is asked, whether what it hands over is what
the contract says, and where something was thrown.
"""

import builtins
import enum
import importlib
import sys
import time

from componentize_py_types import Err

# Where the author's folder is when the component is built, and ever after.
FOLDER = "/0/"


def told(text):
    """What is for the author: the kit finds it between these, whatever the tool says around it."""
    return RuntimeError(f"<holdfast>{text}</holdfast>")


WHOLE = {
    "u8": (0, 2**8 - 1),
    "s8": (-(2**7), 2**7 - 1),
    "u16": (0, 2**16 - 1),
    "s16": (-(2**15), 2**15 - 1),
    "u32": (0, 2**32 - 1),
    "s32": (-(2**31), 2**31 - 1),
    "u64": (0, 2**64 - 1),
    "s64": (-(2**63), 2**63 - 1),
}
PLAIN = {"float": "a number", "bool": "True or False", "string": "a str"}


def camel(name):
    """A case of a variant, as the end of its class's name."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))


def quoted(names):
    return ", ".join(f"`{name}`" for name in names)


def wanted(kind):
    """What one of the type is, in words."""
    if isinstance(kind, str):
        return PLAIN.get(kind) or "a whole number from {} to {}".format(*WHOLE[kind])
    if kind is None:
        return "something"
    word, inner = kind
    if word == "list":
        return "a list"
    if word == "option":
        return f"{wanted(inner)}, or None"
    if word == "enum":
        return "one of " + quoted(name.replace("-", "_").upper() for name in inner)
    if word == "variant":
        return "one of the classes whose names end with " + quoted("_" + camel(name) for name in inner)
    return "a record with " + quoted(inner)


# Of a function's code: generator, coroutine, asynchronous generator.
ASYNC_OR_GENERATOR = 0x20 | 0x80 | 0x200


def waits(value):
    return hasattr(value, "__await__")


def shown(value):
    if value is None:
        return "is None"
    if isinstance(value, type):
        return f"is the class `{value.__name__}` (write `{value.__name__}(…)`)"
    if waits(value):
        return "is a coroutine"
    if isinstance(value, (str, int, float)) and not isinstance(value, enum.Enum):
        return f"is {repr(value)[:60]}"
    return f"is a `{type(value).__name__}`"


def misfit(value, kind):
    return "", f"{shown(value)} and has to be {wanted(kind)}"


def inside(found, step):
    return found and (step + found[0], found[1])


def fault(value, kind):
    """None if a value can become one of the type; else where in it, and what is wrong."""
    if kind is None:
        return None
    if isinstance(kind, str):
        if kind in WHOLE:
            least, most = WHOLE[kind]
            fits = isinstance(value, int) and least <= value <= most
        else:
            fits = isinstance(value, {"float": (float, int), "bool": bool, "string": str}[kind])
        return None if fits else misfit(value, kind)
    word, inner = kind
    if word == "option":
        return None if value is None else fault(value, inner)
    if word == "list":
        # One of bytes is handed over as it is.
        if inner == "u8" and isinstance(value, bytes):
            return None
        if not isinstance(value, list):
            return misfit(value, kind)
        # Columns of numbers are what there is most of.
        if inner == "float" and {*map(type, value)} <= {float, int}:
            return None
        for at, each in enumerate(value):
            if found := fault(each, inner):
                return inside(found, f"[{at}]")
        return None
    if word == "enum":
        known = isinstance(value, enum.Enum) and value.name.replace("_", "-").lower() in inner
        return None if known else misfit(value, kind)
    if word == "variant":
        own = type(value).__name__.rpartition("_")[2]
        case = next((name for name in inner if camel(name) == own), None)
        if case is None or isinstance(value, type):
            return misfit(value, kind)
        return None if inner[case] is None else inside(fault(value.value, inner[case]), ".value")
    for name, each in inner.items():
        if not hasattr(value, name):
            return misfit(value, kind)
        if found := fault(getattr(value, name), each):
            return inside(found, f".{name}")
    return None


def words(error):
    if isinstance(error, SyntaxError) and error.filename:
        place = error.filename.removeprefix(FOLDER)
        return f"{type(error).__name__}: {error.msg} ({place}:{error.lineno})"
    if isinstance(error, ImportError) and not asked:
        return f"{type(error).__name__}: {error}; {unresolved(error.name or '')}"
    if isinstance(error, Err):
        value = error.value
        inner = getattr(value, "value", None)
        text = value if isinstance(value, str) else f"{type(value).__name__}: {inner}"
        return f"Err: {text}"
    return str(error) if isinstance(error, Misuse) else f"{type(error).__name__}: {error}"


def unresolved(name):
    if name.startswith("wit_world"):
        return (
            "what wit/world.wit imports is there: add such as `import holdfast:host/http@0.1.0;` to it, and the right to it "
            "to extension.toml"
        )
    return f"packages have to be in the extension's folder: `pip install --target . {name.split('.')[0]}`"


class Misuse(Exception):
    """The contract is not kept: its words are enough."""


def frames(error):
    """The author's frames, the innermost first: "judge, placement.py:12"."""
    found, at = [], error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if code.co_filename.startswith(FOLDER):
            place = f"{code.co_filename.removeprefix(FOLDER)}:{at.tb_lineno}"
            found.insert(0, place if code.co_name == "<module>" else f"{code.co_name}, {place}")
        at = at.tb_next
    return found[:4]


def traced(text, found):
    return text + "".join(f"\n  at {frame}" for frame in found)


log = None
# Whether there was a call: the component is built then.
asked = False


def guard_import(name, functions):
    """A wrong argument of an import is an exception with a place, not a trap."""
    global log
    short = name.split("/")[1].split("@")[0].replace("-", "_")
    try:
        module = importlib.import_module(f"wit_world.imports.{short}")
    except ImportError:
        # One that has its package before its name.
        return
    if name.startswith("holdfast:host/log@"):
        log = module

    def guarded(plain, called, known):
        def call(*given, **named):
            arguments = list(given)
            for argument, kind in known[len(given) :]:
                # One that may be left out is None.
                arguments.append(named.pop(argument, None))
            if named or len(given) > len(known):
                raise Misuse(f"{called} takes " + quoted(argument for argument, _ in known))
            for (argument, kind), value in zip(known, arguments):
                if found := fault(value, kind):
                    raise Misuse(f"{called}: `{argument}{found[0]}` {found[1]}")
            return plain(*arguments)

        return call

    for own, known in functions.items():
        setattr(module, own, guarded(getattr(module, own), f"{short}.{own}", known))


class NothingLater:
    """No module is read once the component is built."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        raise ImportError(f"`{name}` is imported when it is asked, and nothing can be read then: import it at the top")


def absent(what):
    def call(*_, **__):
        raise RuntimeError(what)

    return call


def begin():
    """What would be a trap from now on is an exception. With the first call: what makes the component is done then."""
    global asked
    if asked:
        return
    asked = True
    builtins.print = absent("nothing is printed: words for operators go to the log, `log.write(log.Level.INFO, text)`")
    builtins.open = absent("there are no files in an extension")
    clock = absent("there is no clock in an extension: times come with what it is asked")
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"):
        setattr(time, name, clock)
    sys.meta_path.insert(0, NothingLater)
    if lines := sys.modules.get("linecache"):
        # Of tracebacks, which would read the sources.
        lines.checkcache = lambda filename=None: None
        lines.updatecache = lambda filename, module_globals=None: []


def missing(own, wants):
    """What the author's module has not, or None."""
    name, functions = wants["name"], wants["functions"]
    write = f"write `class {name}(exports.{name})` with " + quoted(functions)
    made = getattr(own, name, None)
    if not isinstance(made, type):
        classes = [each for each, it in vars(own).items() if isinstance(it, type) and it.__module__ == own.__name__]
        has = f"it has the classes {quoted(classes)}, and" if classes else "it has"
        return f"{has} no class `{name}`: {write}"
    for each in functions:
        found = getattr(made, each, None)
        if not callable(found) or getattr(found, "__isabstractmethod__", False):
            has = [other for other, it in vars(made).items() if callable(it) and not other.startswith("_")]
            return f"`{name}.{each}` is not there" + (f" (`{name}` has {quoted(has)})" if has else "") + f": {write}"
        if getattr(getattr(found, "__code__", None), "co_flags", 0) & ASYNC_OR_GENERATOR:
            return (
                f"`{name}.{each}` is an async function or a generator: there is nothing to wait for here, imports "
                "answer at once. Write it without `async`, `await` and `yield`"
            )
    return None


def guarded(name, each, plain, result, fails):
    """One function of the author's. If its result can be an error (a str), whatever is raised is one, in words; if not,
    it is a trap, and the log says why."""

    def call(*given):
        begin()
        try:
            answer = plain(*given)
            found = misfit(answer, result) if waits(answer) else fault(answer, result)
            if not found:
                return answer
            forgotten = " (is a `return` missing?)" if answer is None else ""
            where = f"in its answer `{found[0].removeprefix('.')}`" if found[0] else "its answer"
            raise Misuse(f"{where} {found[1]}{forgotten}")
        except Exception as error:
            if fails and isinstance(error, Err) and isinstance(error.value, str):
                # The author's own word.
                raise
            text, found = words(error), frames(error)
            if log is not None:
                log.write(log.Level.ERROR, traced(f"{name}.{each}: {text}", found))
            if not fails:
                raise
            raise Err(f"{text} (at {found[0]})" if found else text) from None

    return call


def made(own, wants):
    name, functions = wants["name"], wants["functions"]
    author = getattr(own, name)()
    methods = {
        each: staticmethod(guarded(name, each, getattr(author, each), of["result"], of["fails"]))
        for each, of in functions.items()
    }
    return type(name, (), methods)


def main():
    for name, functions in IMPORTS.items():
        guard_import(name, functions)
    try:
        own = importlib.import_module(MAIN)
        if lacks := next(filter(None, (missing(own, each) for each in EXPORTS)), None):
            raise told(lacks)
        return [made(own, each) for each in EXPORTS]
    except Exception as error:
        if str(error).startswith("<holdfast>"):
            raise
        raise told(traced(words(error), frames(error))) from None


MADE = main()
