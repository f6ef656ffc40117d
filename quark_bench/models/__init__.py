"""Models: how text is generated. Each is one file that fills the Model protocol of `quark_bench.agent`."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quark_bench.errors import UsageError
from quark_bench.model import Model
from quark_bench.models.offline import OfflineReader
from quark_bench.models.prices import Price, price_of

OFFLINE = "offline"
OPENAI = "openai"
REPLAY = "replay"
KNOWN = f"{OFFLINE}, {OPENAI}:NAME, {REPLAY}:RUN"
OPENAI_URL = "https://api.openai.com/v1"
API_KEY_ENV = "OPENAI_API_KEY"
APIS = ("chat", "completions")
RESERVED = ("model", "messages", "prompt", "stream", "stream_options", "temperature", "max_tokens", "n")
"""Fields of a request that have parameters of their own, or that change the form of the answer."""


def make_model(
    spec: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    prices: str | Path | None = None,
    speed: float | None = None,
    out: str | Path = "reports",
) -> Model:
    """The model that `spec` names: `offline`, `openai:NAME`, of which `openai_model` explains the options, or
    `replay:RUN`, a recorded run below `out`, `speed` times as fast.

    Raises UsageError, naming the known, for one that there is not, and for options that it does not have.
    """
    kind, _, name = spec.partition(":")
    if speed is not None and kind != REPLAY:
        raise UsageError("--speed is for a recorded run; name it with --model replay:RUN, or leave --speed out")
    if kind == OPENAI:
        if not name:
            raise UsageError(f"--model {spec}: name the model too, as the server knows it: --model openai:NAME")
        return openai_model(name, base_url=base_url, api_key_env=api_key_env or API_KEY_ENV, prices=prices)
    if spec != OFFLINE and kind != REPLAY:
        near = difflib.get_close_matches(kind, (OFFLINE, OPENAI, REPLAY), 1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"unknown model {spec!r}; {hint}there are: {KNOWN}")
    for option, given in {"--base-url": base_url, "--api-key-env": api_key_env, "--prices": prices}.items():
        if given is not None:
            raise UsageError(f"{option} is for a real model; name it with --model openai:NAME, or leave {option} out")
    if kind == REPLAY:
        from quark_bench.models.replay import Replay

        return Replay.of(name or "last", out, 1.0 if speed is None else speed)
    return OfflineReader()


def openai_model(  # noqa: PLR0913 - one parameter per setting of a request
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str = API_KEY_ENV,
    api: str = "chat",
    stream: bool = True,
    temperature: float | None = None,
    max_tokens: int | None = None,
    extra: Mapping[str, Any] | None = None,
    prices: Price | str | Path | None = None,
) -> Model:
    """A model behind a server that speaks OpenAI's protocol: theirs, vLLM, llama.cpp, Ollama, a gateway.

        Pipeline("support", [...], model=openai_model("qwen3", base_url="http://127.0.0.1:8000/v1"))

    `base_url` None means the environment's OPENAI_BASE_URL, else OpenAI's own. `api_key_env` names the environment
    variable that holds the key, which is read wherever a request is made, at that moment, and kept nowhere; where it is
    not set, none is sent. `api` is `chat` or `completions`, whose prompt is all messages with an empty line between
    them. Only with `stream` are there times of tokens. `extra` are further fields of every request, as JSON holds them.
    `prices` is a Price or a TOML file with a table for each model: usd_per_million_in, usd_per_million_out; without it
    calls cost 0.

    Needs the extra `http`. Raises UsageError for what no request can hold, and as `price_of` does.
    """
    if importlib.util.find_spec("h11") is None:
        raise UsageError("a model over HTTP needs h11: pip install 'quark-bench[http]'")
    from quark_bench.models.openai import Endpoint, OpenAIModel

    if api not in APIS:
        raise UsageError(f"api={api!r}: give {' or '.join(APIS)}")
    if not api_key_env.isidentifier():
        raise UsageError("--api-key-env names an environment variable, as OPENAI_API_KEY; never give the key itself")
    url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    price = prices if prices is None or isinstance(prices, Price) else price_of(name, prices)
    fields = _as_json(extra or {})
    return OpenAIModel(
        Endpoint(name, url.rstrip("/"), api, stream, api_key_env, temperature, max_tokens, fields, price)
    )


def _as_json(extra: Mapping[str, Any]) -> str:
    if taken := sorted(set(extra) & set(RESERVED)):
        raise UsageError(f"extra={{{taken[0]!r}: ...}}: that is not extra; give {taken[0]} its own parameter, or none")
    try:
        return json.dumps(extra, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"extra is no JSON: {error}; give texts, numbers, lists and objects") from None
