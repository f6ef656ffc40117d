"""Shape: what a manifest must look like before anything is done with it. A downloaded run may be hostile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quark_bench.arrivals import arrivals_of
from quark_bench.chaos import parse_chaos
from quark_bench.plan import Granularity

LONGEST_NAME = 1_000
LARGEST = 2**31
"""Counts beyond it were made by nobody."""

Check = Callable[[Any, str], None]
"""Takes a value and its place; raises ValueError naming the place where the value is not what it must be."""


def check_manifest(manifest: Any) -> None:
    """Raise ValueError, naming the place, where a manifest is not what this package writes; further keys may stand in
    it. Raises UsageError for chaos or arrivals that cannot be read."""
    _MANIFEST(manifest, "the manifest")
    arms, agents = manifest["arms"], manifest["pipeline"]["agents"]
    _distinct([arm["name"] for arm in arms], "arms")
    if not manifest["granularity"]["chunk_size"].keys() >= {arm["name"] for arm in arms}:
        raise ValueError("its granularity has no chunk_size for every arm")
    before: set[str] = set()
    for agent in agents:
        if not before.issuperset(agent["needs"]):
            raise ValueError(f"agent {agent['name']!r} needs one that does not stand before it")
        before.add(agent["name"])
    _distinct([agent["name"] for agent in agents], "agents")
    _distinct(["none", *manifest["scorers"]], "scorers")
    for arm in arms:
        arrivals_of(arm)
    if manifest.get("chaos"):
        parse_chaos([manifest["chaos"]])


def _distinct(names: Sequence[str], what: str) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"its {what} have no names of their own")


def _fail(place: str, wanted: str) -> None:
    raise ValueError(f"{place} is no {wanted}")


def _text(value: Any, place: str) -> None:
    if not isinstance(value, str):
        _fail(place, "text")


def _text_or_object(value: Any, place: str) -> None:
    if not isinstance(value, str | dict):
        _fail(place, "text or object")


def _name(value: Any, place: str) -> None:
    if not isinstance(value, str) or not value or len(value) > LONGEST_NAME:
        _fail(place, "name")


def _run_id(value: Any, place: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,199}", value):
        _fail(place, "name of a folder")


def _count(value: Any, place: str) -> None:
    if type(value) is not int or not 0 <= value < LARGEST:
        _fail(place, "count")


def _above_zero(value: Any, place: str) -> None:
    _count(value, place)
    if not value:
        _fail(place, "count above 0")


def _integer(value: Any, place: str) -> None:
    if type(value) is not int:
        _fail(place, "integer")


def _number(value: Any, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        _fail(place, "number")


def _measured(value: Any, place: str) -> None:
    """A ratio of almost nothing may be larger than any count."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        _fail(place, "number")


def _yes_or_no(value: Any, place: str) -> None:
    if not isinstance(value, bool):
        _fail(place, "true or false")


def _anything(value: Any, place: str) -> None:
    pass


def _granularity(value: Any, place: str) -> None:
    if value not in [each.value for each in Granularity]:
        _fail(place, "granularity")


def _or_none(check: Check) -> Check:
    return lambda value, place: None if value is None else check(value, place)


def _list_of(check: Check) -> Check:
    def checked(value: Any, place: str) -> None:
        if not isinstance(value, list):
            _fail(place, "list")
        for index, item in enumerate(value):
            check(item, f"{place}[{index}]")

    return checked


def _map_of(check: Check) -> Check:
    def checked(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            _fail(place, "object")
        for name, item in value.items():
            check(item, f"{place}.{name[:LONGEST_NAME]}")

    return checked


def _object(**checks: Check) -> Check:
    """All of these keys, each checked; a key whose name ends with `_` may be missing."""

    def checked(value: Any, place: str) -> None:
        if not isinstance(value, Mapping):
            _fail(place, "object")
        for key, check in checks.items():
            name = key.removesuffix("_")
            if name in value:
                check(value[name], f"{place}.{name}")
            elif name == key:
                raise ValueError(f"{place} has no {name}")

    return checked


_CHANGE = _object(
    measure=_name,
    scale=_name,
    **dict.fromkeys(("worse", "low", "high", "p", "mde", "baseline", "candidate"), _or_none(_measured)),
    n=_count,
    pairs=_count,
    equal=_yes_or_no,
    widest=_text,
    note=_text,
    prompts=_list_of(_text),
)
_GATE = _object(
    verdict=_name,
    kind=_name,
    against=_text,
    judged=_list_of(_object(change=_CHANGE, verdict=_name, why=_text, again=_or_none(_CHANGE))),
    agents=_list_of(_object(change=_CHANGE, critical_share=_or_none(_measured), slower=_yes_or_no, faster=_yes_or_no)),
    noise=_or_none(_measured),
    **dict.fromkeys(("measurements", "prompts", "repeats", "blocks", "in_flight"), _count),
    findings=_list_of(_text),
    slos_missed=_list_of(_text),
    null=_or_none(_object(tries=_count, alarms=_count)),
    conditions=_text,
)
_MANIFEST = _object(
    run_id=_run_id,
    state=_name,
    session=_count,
    started=_name,
    ended=_or_none(_name),
    duration_s=_or_none(_number),
    command=_or_none(_text),
    folder=_text,
    dataset=_object(name=_name, path=_or_none(_text), fields=_map_of(_text_or_object), hash=_name, prompts=_count),
    pipeline=_object(
        name=_name,
        key=_name,
        answer=_name,
        model=_or_none(_text),
        price_=_or_none(_object(usd_per_million_in=_number, usd_per_million_out=_number)),
        latency_profile=_or_none(_name),
        learns_in_=_or_none(_text),
        agents=_list_of(_object(name=_name, needs=_list_of(_name))),
    ),
    arms=_list_of(
        _object(
            name=_name,
            strategy=_name,
            in_flight=_above_zero,
            pipeline_key=_name,
            arrivals_=_or_none(_object(rate=_name, shape=_name)),
        )
    ),
    repeats=_count,
    seed=_integer,
    warmup=_count,
    scorers=_list_of(_name),
    score_versions_=_map_of(_text),
    clusters_=_or_none(_name),
    slos=_list_of(_text),
    chaos_=_or_none(_text),
    run_key=_name,
    granularity=_object(
        choice=_granularity,
        reason=_text,
        chunk_size=_map_of(_above_zero),
        predicted_=_map_of(_object(chunk_s=_number, agent_s=_or_none(_number))),
        took_s_=_map_of(_number),
    ),
    cluster=_map_of(_anything),
    provenance=_map_of(_anything),
    client_=_object(host=_text, pid=_count, started_s=_number),
    measures_=_map_of(
        _map_of(_object(value=_or_none(_number), low=_or_none(_number), high=_or_none(_number), note=_text))
    ),
    arrivals_=_list_of(_object(arm=_name, kept_up=_yes_or_no, why=_text, remedy=_text)),
    usage=_list_of(_object(block=_count, arm=_name, cpu_s=_or_none(_number), peak_memory_bytes=_or_none(_number))),
    gate_=_or_none(_GATE),
    gating_=_object(
        kind=_name,
        against=_text,
        commit=_or_none(_name),
        agents=_list_of(_name),
        data_changes=_text,
        provenance=_or_none(_map_of(_anything)),
        asked=_above_zero,
        repeats=_above_zero,
    ),
    conservation=_object(planned=_count, ok=_count, degraded=_count, failed=_count, not_run=_integer),
)
