"""ModelServer: a fast loopback server that speaks OpenAI's protocol, with latency laws, faults and rate limits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from quark_bench.errors import ExecutionError, UsageError
from quark_bench.testing.answers import Answering
from quark_bench.testing.faults import Fault, parse_fault
from quark_bench.testing.laws import Law, law_of
from quark_bench.testing.limits import RateLimit
from quark_bench.testing.protocol import serve
from quark_bench.testing.service import Service
from quark_bench.testing.settings import Settings

START_S = 60
STOP_S = 5
ROOT = Path(__file__).parents[2]


class ModelServer:
    """A server of chat and text completions on 127.0.0.1, from `with` until its end.

        with ModelServer(first_token_s=0.1, between_tokens_s=0.01, tokens=20) as server:
            server.base_url           # http://127.0.0.1:PORT/v1
            server.stats()["requests"]

    An answer's parts leave by absolute deadlines, counted from the moment its request was read: lateness never adds
    up, and here 290.0 ms pass until the last token. `stats()["most_late_s"]` tells how far a deadline was missed.

    first_token_s, between_tokens_s  seconds, or a Law; an answer that is not streamed comes when its last token would.
        A law is drawn once a request, from `seed` and the request's idempotency-key or x-request-id header, or else
        its body: equal requests take equally long in whatever order they come (but for a law's knee).
    tokens     words of an answer that is filler, drawn from the prompt
    answer     `"echo"` for the user's last message; another text; texts by regular expressions, the first that is
               found in the messages, else filler; or, with apart=False, a function of the messages, which should
               be quick: all wait for it. A request's max_tokens cuts an answer. Usage counts words, and exactly the
               tokens that were streamed.
    usage      False for a server that tells no usage
    model      what GET /v1/models lists; requests for any model are answered
    key        answers 401 without `Authorization: Bearer KEY`
    faults     Fault, or texts such as "429: share=0.1, retry_after_s=2, attempts=1"; the first that meets a request
               befalls it. What the rate limit refuses meets none.
    rate_limit answers 429 beyond it, and tells of it in x-ratelimit headers
    keep_arrivals  keep when each request was read, for `stats()`
    port       0 for any that is free
    apart      in a process of its own, which does not share this one's interpreter lock and ends with it;
               False for a thread of this process

    Raises UsageError for settings that make no sense, ExecutionError where the server does not start.
    """

    def __init__(  # noqa: PLR0913 - the options of a test double read best in one call
        self,
        *,
        first_token_s: Law | float = 0.1,
        between_tokens_s: Law | float = 0.01,
        tokens: int = 20,
        seed: int = 0,
        answer: Answering = None,
        usage: bool = True,
        model: str = "test-model",
        key: str | None = None,
        faults: Sequence[Fault | str] = (),
        rate_limit: RateLimit | None = None,
        keep_arrivals: bool = False,
        port: int = 0,
        apart: bool = True,
    ) -> None:
        self._settings = Settings(
            first_token_s=law_of(first_token_s),
            between_tokens_s=law_of(between_tokens_s),
            tokens=tokens,
            seed=seed,
            answer=answer,
            usage=usage,
            model=model,
            key=key,
            faults=tuple(parse_fault(each) if isinstance(each, str) else each for each in faults),
            rate_limit=rate_limit,
            keep_arrivals=keep_arrivals,
        )
        self._host: _Process | _Thread = _Process(self._settings, port) if apart else _Thread(self._settings, port)
        self._port: int | None = None

    def __enter__(self) -> Self:
        self._port = self._host.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._port = None
        self._host.stop()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`. Raises UsageError outside `with`."""
        if self._port is None:
            raise UsageError("the server is not running: use it within `with ModelServer(...) as server:`")
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What clients are given: `http://127.0.0.1:PORT/v1`."""
        return f"{self.url}/v1"

    def stats(self) -> dict[str, Any]:
        """What the server has seen until now: the fields of service.Counts, and `cpu_s`, its process's CPU seconds."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/stats") as page:
            told: dict[str, Any] = json.load(page)
        return told | {"by_status": {int(status): count for status, count in told["by_status"].items()}}


class _Process:
    """The server in a process of its own, which reads its settings from its input and ends when that is closed."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._asked = json.dumps({"settings": settings.as_data(), "port": port})

    def start(self) -> int:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 - this file, by this Python
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(self._asked + "\n")
            self._process.stdin.flush()
        told = self._process.stdout.readline().strip()
        if not told.isdigit():
            self.stop()
            raise ExecutionError(f"the model server did not start: {told or 'its process said why, above'}")
        return int(told)

    def stop(self) -> None:
        process = self._process
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class _Thread:
    """The server in a thread of this process."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._settings = settings
        self._asked_port = port

    def start(self) -> int:
        self._port: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)
        self._thread.start()
        try:
            return self._port.result(START_S)
        except OSError as error:
            raise ExecutionError(f"the model server did not start: {error}; give another port") from None

    def _run(self) -> None:
        try:
            serve(Service(self._settings), self._asked_port, self._until_stopped, self._port.set_result)
        except OSError as error:
            self._port.set_exception(error)

    async def _until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        await self._stopped.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()


async def _until_input_ends() -> None:
    """The process that started this one has closed its end, or has ended."""
    ended = asyncio.Event()

    def look() -> None:
        if not os.read(0, 4_096):
            ended.set()

    asyncio.get_running_loop().add_reader(0, look)
    await ended.wait()


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starting process's to handle; its end ends this one
    asked = json.loads(sys.stdin.readline())
    service = Service(Settings.of_data(asked["settings"]))
    gc.collect()
    gc.freeze()

    def tell(said: int | str) -> None:
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()

    try:
        serve(service, asked["port"], _until_input_ends, tell)
    except OSError as error:
        tell(f"{error}; give another port, or 0 for any that is free")


if __name__ == "__main__":
    _main()
