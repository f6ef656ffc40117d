"""Agent code: a hash of all that decides what an agent gives, so that a changed agent is told from one that is not.

Followed is what code names as a global, imports, or holds in a closure, as far as that is the user's or ours. What is
installed counts by name and version. Source text is taken as it stands; code without any, which was typed into a shell,
counts by its bytecode.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from quark_bench.agent import Agent, canonical
from quark_bench.fingerprint import PLAIN, canonical_form
from quark_bench.model import model_told
from quark_bench.pipeline import Pipeline

INSTALLED = frozenset({"site-packages", "dist-packages"})
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
OWN = ("__main__", "quark_bench")
"""Top names of modules that are the user's or ours, wherever they stand."""
WRAPPED = ("__wrapped__", "func", "fget", "fset")
"""Where wrappers of the standard library (caches, properties) hold the function that was written."""
LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def agent_hashes(pipeline: Pipeline) -> dict[str, str]:
    """For each agent's name a sha256, equal in every process and on every machine.

    It holds the code and settings of the agent, its set-up and its fallbacks, the name of the model where they may ask
    it, and the hashes of the agents that it needs: a changed agent changes all that depend on it, and no other.
    """
    hashes: dict[str, str] = {}
    model = model_told(pipeline.model) or ""
    for step in pipeline.steps:
        needed = [hashes[pipeline.steps[need].name] for need in step.needs]
        asked = model if any(link.takes_call for link in step.agent.chain()) else ""
        parts = (canonical(step.name), _Writer().text(step.agent), asked, *needed)
        hashes[step.name] = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return hashes


def is_own(module: str, file: str | None) -> bool:
    """Whether a module is the user's or ours: neither installed nor Python's."""
    top = module.partition(".")[0]
    if top in OWN:
        return True
    if file is None:
        return top not in sys.stdlib_module_names
    path = Path(file).resolve()
    return not INSTALLED & set(path.parts) and not path.is_relative_to(STANDARD_LIBRARY)


def source_text(written: CodeType | type) -> str:
    """Code or a class as it was written. Without source, code's bytecode, and of a class nothing."""
    try:
        return inspect.getsource(written)
    except (OSError, TypeError):
        return _bytecode(written) if isinstance(written, CodeType) else ""


def _bytecode(code: CodeType) -> str:
    parts = [_bytecode(each) if isinstance(each, CodeType) else canonical_form(each) for each in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{parts}"


class _Writer:
    """Writes a value down with all the code that it leads to: a function or class once, from then on by its number."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._above: list[int] = []

    def text(self, value: Any) -> str:
        """In an order of its own, never in one that the process gives: what comes first takes the lower number."""
        if type(value) in PLAIN:
            return canonical_form(value)
        if isinstance(value, FunctionType):
            return self._once(value, self._function)
        if isinstance(value, type):
            return self._once(value, self._class)
        if isinstance(value, ModuleType):
            return _installed(value.__name__)
        if id(value) in self._above:
            return f"<{len(self._above) - self._above.index(id(value))} up>"
        self._above.append(id(value))
        try:
            return self._parts(value)
        finally:
            self._above.pop()

    def _once(self, value: Any, write: Callable[[Any], str]) -> str:
        number = self._numbers.get(id(value))
        if number is not None:
            return f"#{number}"
        self._numbers[id(value)] = len(self._numbers)
        return write(value)

    def _function(self, function: FunctionType) -> str:
        """By its own code, not by what a decorator says that it wraps: that stands in its closure."""
        code, scope = function.__code__, function.__globals__
        module = scope.get("__name__", "")
        if not is_own(module, scope.get("__file__")):
            return _installed(module, function.__qualname__)
        held = {name: _content(cell) for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)}
        parts = (held, function.__defaults__, function.__kwdefaults__, dict(_referred(code, scope)))
        return source_text(code) + self.text(parts)

    def _class(self, kind: type) -> str:
        if not _is_own_class(kind):
            return _installed(kind.__module__, kind.__qualname__)
        source = source_text(kind)
        members = {name: each for name, each in vars(kind).items() if _was_written(name, each, bool(source))}
        return source + self.text((kind.__bases__, members))

    def _parts(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, Agent):  # its policy decides when it is called, not what it gives
            return self.text((value.function, value.setup, value.fallback, [each.default for each in value.inputs]))
        if isinstance(value, MethodType):
            return self.text((value.__func__, value.__self__))
        if isinstance(value, functools.partial):
            return self.text((value.func, value.args, value.keywords))
        if isinstance(value, Enum):
            return f"{self.text(kind)}.{value.name}"
        if isinstance(value, Mapping):
            keyed = sorted(((canonical_form(key), part) for key, part in value.items()), key=lambda pair: pair[0])
            return f"{self.text(kind)}{{{','.join(f'{key}:{self.text(part)}' for key, part in keyed)}}}"
        if isinstance(value, Set):
            return f"{self.text(kind)}{{{','.join(map(self.text, sorted(value, key=canonical_form)))}}}"
        if isinstance(value, list | tuple):
            return f"{self.text(kind)}[{','.join(map(self.text, value))}]"
        if _is_own_class(kind):
            return self.text(kind) + self.text(_attributes(value))
        return self._foreign(value)

    def _foreign(self, value: Any) -> str:
        """An object of an installed class, and what was written of it."""
        try:
            written = [held for name in WRAPPED if isinstance(held := getattr(value, name, None), FunctionType)]
            return self.text(type(value)) + canonical_form(value) + "".join(map(self.text, written))
        except Exception:  # noqa: BLE001 - what somebody else's object is made of may be anything
            return self.text(type(value))


def _referred(code: CodeType, scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What code leads to, by name: globals, imports and, of own modules among them, the attributes it names."""
    names, attributes, imports = _names(code, scope)
    waiting: list[tuple[str, Any]] = [(name, scope[name]) for name in sorted(names & scope.keys())]
    waiting += [(name, _imported(name)) for name in sorted(imports)]
    seen: set[str] = set()
    while waiting:
        name, value = waiting.pop(0)
        if not (isinstance(value, ModuleType) and is_own(value.__name__, getattr(value, "__file__", None))):
            yield name, value
        elif value.__name__ not in seen:
            seen.add(value.__name__)
            held = vars(value)
            waiting += [(f"{value.__name__}.{each}", held[each]) for each in sorted(attributes & held.keys())]


def _names(code: CodeType, scope: Mapping[str, Any]) -> tuple[set[str], set[str], set[str]]:
    """Globals that code loads, attributes it may take of them, and modules it imports; the code inside it too."""
    names, attributes, imports = set(), set(code.co_names), set()
    steps = list(dis.get_instructions(code))
    for place, step in enumerate(steps):
        if step.opname in LOADS:
            names.add(step.argval)
        elif step.opname == "IMPORT_NAME":  # two steps before it: how many packages up, and what is taken from it
            up, taken = (each.argval for each in steps[place - 2 : place])
            module = step.argval if not up else importlib.util.resolve_name("." * up + step.argval, _package(scope))
            imports |= {module, *(f"{module}.{each}" for each in taken or ())}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            for known, more in zip((names, attributes, imports), _names(inner, scope), strict=True):
                known.update(more)
    return names, attributes, imports


def _package(scope: Mapping[str, Any]) -> str:
    return str(scope.get("__package__") or scope.get("__name__", ""))


def _imported(name: str) -> ModuleType | str:
    """A module that a function imports when it is called: itself where it is the user's or ours, else its version.

    What is installed is not imported for that, and whether it has been must not show.
    """
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
        if spec is not None and is_own(top, spec.origin):
            return importlib.import_module(name)
    except Exception:  # noqa: BLE001 - no module but a thing in one; or it fails when the agent is called, if it is
        return name
    return _installed(name)


def _content(cell: Any) -> Any:
    """What a closure holds; None for a variable that has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_own_class(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return is_own(kind.__module__, getattr(module, "__file__", None))


def _was_written(name: str, member: Any, has_source: bool) -> bool:
    """Whether a class's member says something about it that is not said by Python or by its source already."""
    if isinstance(member, FunctionType):
        return not (has_source and member.__code__.co_filename == "<string>")  # made by `dataclass`
    hidden = isinstance(member, MemberDescriptorType | GetSetDescriptorType) or name == "_abc_impl"
    return not hidden and not (name.startswith("__") and name.endswith("__"))


def _attributes(value: Any) -> dict[str, Any]:
    """The object's own attributes, those in slots too."""
    members: Iterable[tuple[str, Any]] = (pair for kind in type(value).__mro__ for pair in vars(kind).items())
    slots = (name for name, member in members if isinstance(member, MemberDescriptorType))
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})


def _installed(module: str, name: str = "") -> str:
    return f"<{module} {name} {_version(module.partition('.')[0])}>"


@functools.cache
def _version(package: str) -> str:
    """Of an installed package; empty for modules of Python's own and for what no package brought."""
    if package in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        found = importlib.metadata.packages_distributions().get(package, ())  # reads the lists of all packages
        return ",".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(found)))
