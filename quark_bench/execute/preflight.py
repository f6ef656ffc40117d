"""Preflight: asks a cluster, before the first prompt, whether it can take part. Every question ends in bounded time.

Nothing here needs quark-bench on the other end: versions are asked by Dask's own request, and what else is asked
travels by value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from distributed import Client
from distributed.versions import get_versions

from quark_bench.errors import ClusterError, describe
from quark_bench.execute.versions import Versions, compared, differences, told, told_places

ANSWER_S = 30.0
"""Longest wait for an answer from the scheduler, and from all workers at once."""

T = TypeVar("T")


def check_versions(client: Client) -> None:
    """Refuse a cluster whose versions differ from those here.

    Raises ClusterError naming all differences, or who does not answer.
    """
    found = differences(ask_versions(client))
    if found:
        raise ClusterError(told(found))


def ask_versions(client: Client) -> Versions:
    """Versions of this process, the scheduler and all workers. Raises ClusterError naming who does not answer."""
    packages = ["quark_bench"]

    async def scheduler() -> Any:
        answer = await client.scheduler.versions(packages=packages)
        return answer["packages"], await addresses()

    async def addresses() -> list[str]:
        return list((await client.scheduler.identity(n_workers=-1))["workers"])

    async def workers() -> dict[str, Any]:
        return await _from_each(client, present, {"op": "versions", "packages": packages})

    theirs, present = ask(client, scheduler)
    answers = ask(client, workers, rounds=2)  # it bounds its own wait
    unheard = set(present) - answers.keys()
    silent = sorted(unheard & set(ask(client, addresses))) if unheard else []  # those that left need not answer
    if silent:
        raise ClusterError(
            f"{told_places(silent)} did not answer within {ANSWER_S:.0f} s; stop it, or see whether the scheduler "
            "reaches it: it may be suspended, overloaded or behind a firewall"
        )
    by_worker = {address: compared(answer["packages"]) for address, answer in answers.items()}
    return Versions(compared(get_versions(packages)["packages"]), compared(theirs), by_worker)


async def _from_each(client: Client, addresses: Sequence[str], message: dict[str, Any]) -> dict[str, Any]:
    """What each worker answers; those that fail to within ANSWER_S are left out."""

    async def one(address: str) -> Any:
        return await client.scheduler.broadcast(msg=message, workers=[address], on_error="ignore")

    asked = [asyncio.ensure_future(one(address)) for address in addresses]
    if not asked:
        return {}
    done, pending = await asyncio.wait(asked, timeout=ANSWER_S)
    for late in pending:
        late.cancel()
    answers: dict[str, Any] = {}
    for task in done:
        answers |= task.result()
    return answers


def allowed_failures(client: Client) -> int:
    """On how many more workers Dask itself tries a task that has lost its worker. Raises ClusterError."""

    def read(dask_scheduler: Any) -> int:
        return int(dask_scheduler.allowed_failures)

    allowed: int = ask(client, lambda: client.run_on_scheduler(read))
    return allowed


def listening(client: Client) -> tuple[tuple[str, int], ...]:
    """Addresses and ports at which the scheduler's process listens; empty where it may not tell."""

    def read(dask_scheduler: Any) -> list[tuple[str, int]]:
        import psutil

        try:
            sockets = psutil.Process().net_connections(kind="inet")
        except (AttributeError, psutil.Error):
            return []
        return [(each.laddr.ip, each.laddr.port) for each in sockets if each.status == psutil.CONN_LISTEN]

    return tuple((ip, port) for ip, port in ask(client, lambda: client.run_on_scheduler(read)))


def ask(client: Client, question: Callable[[], Awaitable[T]], rounds: int = 1) -> T:
    """Put a question to the scheduler. Raises ClusterError where it fails to answer within `rounds` times ANSWER_S."""
    at = getattr(client.scheduler, "address", "its address")
    within_s = rounds * ANSWER_S
    try:
        answer: T = client.sync(question, callback_timeout=within_s)
    except TimeoutError as error:
        raise ClusterError(
            f"the scheduler at {at} did not answer within {within_s:.0f} s; it may be suspended or overloaded: "
            "look at its log, restart it, or use --on local"
        ) from error
    except OSError as error:
        raise ClusterError(f"the scheduler at {at} is gone ({describe(error, 200)}); restart it") from error
    return answer
