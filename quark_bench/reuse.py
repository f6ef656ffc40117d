"""Reuse: from which file a run's agents may be answered, and what becomes of its shipments then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quark_bench.agent_code import agent_hashes
from quark_bench.cache import SqliteCache
from quark_bench.errors import UsageError
from quark_bench.execute.caching import CacheCounts, CachedShipment
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.plan import Plan


def described_cache(path: str | Path | None, main: Pipeline, plan: Plan) -> dict[str, Any] | None:
    """What the manifest says of the cache; None for none. Raises UsageError where no agent would ask it."""
    if path is None:
        return None
    if not any(agent.policy.cache for arm in plan.arms for agent in (arm.pipeline or main).agents):
        raise UsageError(f"--cache {path}: no agent may be answered from it; give those that may @agent(cache=True)")
    return {"file": str(Path(path).resolve())}


def counted(before: Mapping[str, Any], counts: CacheCounts) -> dict[str, Any]:
    """What the manifest says of the cache when this session's calls are added to those of earlier ones."""
    now = asdict(counts)
    last_error = now.pop("last_error") or before.get("last_error")
    return {**before, **{name: before.get(name, 0) + count for name, count in now.items()}, "last_error": last_error}


@contextmanager
def opened_cache(path: str | Path | None) -> Iterator[SqliteCache | None]:
    """The cache in that file, closed at the end. Raises as SqliteCache does."""
    if path is None:
        yield None
        return
    with closing(SqliteCache(path)) as cache:
        yield cache


def with_cache(
    shipments: Mapping[str, Shipment], main: Pipeline, plan: Plan, cache: SqliteCache | None
) -> Mapping[str, Shipment]:
    """For each arm what travels to the workers, with the cache that its agents may be answered from."""
    if cache is None:
        return shipments
    hashes = {arm.name: agent_hashes(arm.pipeline) for arm in plan.arms if arm.pipeline is not None}
    of_main = agent_hashes(main)
    return {arm: CachedShipment(each, cache, hashes.get(arm, of_main)) for arm, each in shipments.items()}
