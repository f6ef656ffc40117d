"""Agent: a named step of a pipeline, and what it is handed when it is called."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, overload

from quark_bench.errors import PipelineError
from quark_bench.fingerprint import canonical_form
from quark_bench.model import Message, Model, Reply, Usage
from quark_bench.policy import Policy

RESERVED = ("prompt", "call")
"""Parameters that are not agents: the prompt, and the Call."""


def canonical(name: str) -> str:
    """Names compare without case and underscores: `SelfImprovement` is `self_improvement`."""
    return name.replace("_", "").lower()


@dataclass(slots=True)
class Call:
    """The circumstances of one attempt: handed to agents that have a parameter `call`.

    `deadline_s` is the time left when the attempt began (None: no limit). `ready` is what the agent's
    `setup` returned in this process. `seed` depends on the run's seed, the prompt, the repeat and the agent,
    not on the arm or the attempt, so that arms meet equal draws. `attempt` is that of the call's span: it counts
    from 1 and goes on in a fallback. `inputs` holds the arguments of the call.
    """

    agent: str
    prompt_id: str
    repeat: int
    attempt: int
    trial_seed: int
    deadline_s: float | None
    ready: Any
    run_key: str
    generator: Model | None
    blocking: bool
    usage: Usage = field(default_factory=Usage)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return stable_hash(self.trial_seed, self.agent)

    @property
    def idempotency_key(self) -> str:
        """Equal for every execution of one call: on any worker, in any attempt, in a resumed session.

        It differs between runs, arms, prompts, repeats, agents and inputs. Hashed when it is read, from the inputs
        as they are then.
        """
        given = [
            f"{canonical(name)}={canonical_form(value)}" for name, value in self.inputs.items() if name not in RESERVED
        ]
        named = (self.run_key, self.prompt_id, str(self.repeat), canonical(self.agent), *sorted(given))
        return hashlib.sha256("\0".join(named).encode()).hexdigest()[:32]

    def model(self, messages: Sequence[Message]) -> Any:
        """Ask the run's model: `await call.model(...)` in an async agent, `call.model(...)` in a sync one.

        Returns a Reply, whose tokens and cost land in this agent's span. Raises PipelineError when the
        pipeline was given no model.
        """
        if self.generator is None:
            raise PipelineError(
                f"agent {self.agent!r} asks a model, but its pipeline has none; give Pipeline(..., model=...)"
            )
        if self.blocking:
            return self.usage.add(self.generator.reply_blocking(messages, self))
        return self._awaited(self.generator, messages)

    async def _awaited(self, generator: Model, messages: Sequence[Message]) -> Reply:
        return self.usage.add(await generator.reply(messages, self))


def stable_hash(*parts: object) -> int:
    """A 64-bit hash that is equal in every process and on every machine."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True, slots=True)
class Input:
    """A parameter that names another agent; with a default it is optional and takes that on failure."""

    parameter: str
    optional: bool
    default: Any = None


@dataclass(frozen=True, slots=True)
class Agent:
    """A named step: a sync or async callable with a Policy. Made by `@agent`.

    `setup` runs once per process, outside every latency; its result is `call.ready`. `cpu` says that the
    agent burns CPU rather than waits; `resources` are Dask resources it needs; an `optional` agent's failure
    degrades a record instead of failing it. `fallback` is called in its place when it has failed for good.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[Input, ...]
    takes_prompt: bool
    takes_call: bool
    is_async: bool
    policy: Policy = field(default_factory=Policy)
    setup: Callable[[], Any] | None = None
    cpu: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)
    optional: bool = False
    fallback: Agent | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as a unit test would."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by name where the decorated name can be imported, else by value.

        `@agent` puts an Agent where its function stood, so pickle would find the name taken by another
        object and copy the function with all its globals.
        """
        module, path = getattr(self.function, "__module__", None), getattr(self.function, "__qualname__", None)
        if module and path and module != "__main__" and _resolve(module, path) is self:
            return _imported, (module, path)
        return Agent, tuple(getattr(self, slot) for slot in self.__dataclass_fields__)

    @property
    def breaker_name(self) -> str:
        """What the agent's circuit breaker is known by: its provider, else the agent itself."""
        breaker = self.policy.breaker
        return self.name if breaker is None or breaker.provider is None else breaker.provider

    def chain(self) -> Iterator[Agent]:
        """The agent, its fallback, that one's fallback, and so on."""
        link: Agent | None = self
        while link is not None:
            yield link
            link = link.fallback


@dataclass(frozen=True, slots=True)
class Constant:
    """What a fallback that is a plain value calls: gives the value, at once."""

    value: Any

    async def __call__(self) -> Any:
        return self.value


class _Absent(Enum):
    """Stands for an option that was not given where None is a value like any other."""

    ABSENT = "absent"


def _imported(module: str, path: str) -> Agent:
    """The agent at `path` in a module. Raises PipelineError where this process cannot import it."""
    found = _resolve(module, path)
    if not isinstance(found, Agent):
        raise PipelineError(
            f"agent {path!r} cannot be imported from module {module!r} here; install the module where agents run"
        )
    return found


def _resolve(module: str, path: str) -> Any:
    """The object at `path` in an importable module; None where there is none."""
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


@overload
def agent(function: Callable[..., Any], /) -> Agent: ...
@overload
def agent(
    function: None = None,
    /,
    *,
    name: str | None = None,
    setup: Callable[[], Any] | None = None,
    cpu: bool = False,
    resources: Mapping[str, float] | None = None,
    optional: bool = False,
    fallback: Any = _Absent.ABSENT,
    **policy: Any,
) -> Callable[[Callable[..., Any]], Agent]: ...
def agent(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    setup: Callable[[], Any] | None = None,
    cpu: bool = False,
    resources: Mapping[str, float] | None = None,
    optional: bool = False,
    fallback: Any = _Absent.ABSENT,
    **policy: Any,
) -> Any:
    """Make an Agent of a function, coroutine function, callable object or partial.

    Every parameter but `prompt` and `call` names the agent whose result it takes. `fallback` stands in for an agent
    that failed for good: a plain value (also None), a function, or another Agent under a Policy of its own; it may
    take `prompt`, `call` and the agent's inputs. Further keywords are the Policy's (`timeout_s`, `retries`, ...).
    Raises PipelineError, naming the agent, for a signature that cannot be wired.
    """

    def make(function: Callable[..., Any]) -> Agent:
        chosen = name or _name_of(function)
        limits = _limits_of(chosen, policy)
        inputs, parameters = _inputs_of(chosen, function)
        return Agent(
            name=chosen,
            function=function,
            inputs=inputs,
            takes_prompt="prompt" in parameters,
            takes_call="call" in parameters,
            is_async=_is_async(function),
            policy=limits,
            setup=setup,
            cpu=cpu,
            resources=dict(resources or {}),
            optional=optional,
            fallback=None if fallback is _Absent.ABSENT else _fallback_of(chosen, inputs, limits, fallback),
        )

    return make if function is None else make(function)


def _fallback_of(name: str, inputs: Sequence[Input], policy: Policy, given: Any) -> Agent:
    """What was given as the agent's fallback, as an Agent. A function has the time that the agent had."""
    if isinstance(given, Agent):
        made = given
    else:
        function = given if callable(given) else Constant(given)
        made = agent(name=f"{name}_fallback", timeout_s=policy.timeout_s)(function)
    known = {canonical(each.parameter) for each in inputs}
    foreign = [each.parameter for each in made.inputs if canonical(each.parameter) not in known]
    if foreign:
        takes = ", ".join((*RESERVED, *(each.parameter for each in inputs)))
        raise PipelineError(
            f"agent {name!r}: its fallback {made.name!r} needs {foreign[0]!r}, which the agent itself does not take; "
            f"a fallback may take {takes}"
        )
    return made


def _limits_of(name: str, policy: Mapping[str, Any]) -> Policy:
    known = tuple(Policy.__dataclass_fields__)
    unknown = [option for option in policy if option not in known]
    if unknown:
        raise PipelineError(f"agent {name!r}: unknown option {unknown[0]!r}; known: {', '.join(known)}")
    try:
        return Policy(**policy)
    except (PipelineError, TypeError) as error:
        raise PipelineError(f"agent {name!r}: {error}") from None


def _name_of(function: Callable[..., Any]) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    name = getattr(inner, "__name__", None) or type(inner).__name__
    if name == "<lambda>":
        raise PipelineError("a lambda has no name to wire by; write agent(name='...')(lambda ...)")
    return str(name)


def _is_async(function: Callable[..., Any]) -> bool:
    inner = function.func if isinstance(function, functools.partial) else function
    # Asked of the type: a class with an async __call__ makes an instance when it is called, not a coroutine.
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def _inputs_of(name: str, function: Callable[..., Any]) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    if not callable(function):
        raise PipelineError(f"agent {name!r} is a {type(function).__name__}, which cannot be called")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise PipelineError(f"agent {name!r} has no readable signature; wrap it in a def") from None
    bound = function.keywords if isinstance(function, functools.partial) else {}
    open_parameters = [parameter for parameter in parameters if parameter.name not in bound]
    inputs = []
    for parameter in open_parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise PipelineError(
                f"agent {name!r}: parameter {parameter.name!r} cannot be wired by name; "
                "name each input as an ordinary parameter"
            )
        if parameter.name not in RESERVED:
            has_default = parameter.default is not parameter.empty
            inputs.append(Input(parameter.name, has_default, parameter.default if has_default else None))
    return tuple(inputs), tuple(parameter.name for parameter in open_parameters)
