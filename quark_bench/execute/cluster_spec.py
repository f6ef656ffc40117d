"""Cluster spec: what `--on` names, read and checked without Dask, so that a mistake is told at once.

A TOML file names exactly one of

    address = "tls://scheduler:8786"
    scheduler_file = "scheduler.json"          # what `dask scheduler --scheduler-file` wrote
    cluster = "dask_jobqueue:SLURMCluster"     # any class with scheduler_address, scale, adapt and close

and may hold `scale = N`, `insecure = true` and the tables [kwargs], [adapt] and [tls]. Its paths count from its folder.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quark_bench.errors import UsageError
from quark_bench.execute.addresses import parse_address, protocol_of, require_safe

PLACES = ("address", "scheduler_file", "cluster")
KEYS: Mapping[str, type] = {
    "address": str,
    "scheduler_file": str,
    "cluster": str,
    "scale": int,
    "insecure": bool,
    "kwargs": dict,
    "adapt": dict,
    "tls": dict,
}
ADAPT_KEYS: Mapping[str, type] = {"minimum": int, "maximum": int}
TLS_KEYS: Mapping[str, type] = {"ca_file": str, "cert": str, "key": str}
TYPE_NAMES = {str: "text", int: "a whole number", bool: "true or false", dict: "a table"}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: who is trusted, and what this end shows of itself."""

    ca_file: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Adapt:
    """Bounds between which a cluster chooses its number of workers itself."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Where a run takes place: at an address, on what a `module:Class` starts, or, with neither, on local processes.

    `on` is what the user wrote; it stands in messages and in the manifest. `kwargs` may hold secrets and stand nowhere.
    """

    on: str
    address: str | None = None
    scheduler_file: Path | None = None
    cluster: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    scale: int | None = None
    adapt: Adapt | None = None
    tls: TlsFiles | None = None
    insecure: bool = False

    @property
    def starts(self) -> bool:
        """Whether we start the cluster, and so close it."""
        return self.address is None


def read_spec(on: str, *, insecure: bool = False) -> ClusterSpec:
    """What `--on` names. Reads the file where it names one, and whether an address may be used as it is.

    Raises UsageError naming file and key for what is wrong or missing.
    """
    path = Path(on)
    if on == "local":
        return ClusterSpec(on)
    if path.suffix == ".toml":
        spec = parse_spec(_text_of(path, on), path.parent, on)
    elif path.suffix == ".json":
        spec = ClusterSpec(on, scheduler_file=path)
    else:
        spec = ClusterSpec(on, address=_address(on, f"--on {on!r}"))
    spec = dataclasses.replace(spec, insecure=insecure or spec.insecure)
    _require_files(spec)
    if spec.scheduler_file is not None:
        address = parse_scheduler_file(_text_of(spec.scheduler_file, on), str(spec.scheduler_file))
        spec = dataclasses.replace(spec, address=address)
    if spec.address is not None:
        _require_tls_address(spec, spec.address)
        require_safe(spec.address, on, insecure=spec.insecure)
    return spec


def parse_spec(text: str, folder: Path, on: str) -> ClusterSpec:
    """The spec that a TOML file's text holds; its relative paths count from `folder`. Raises UsageError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{on}: no valid TOML: {error}") from error
    _check(table, KEYS, on)
    places = [key for key in PLACES if key in table]
    if len(places) != 1:
        found = " and ".join(places) if places else "none of them"
        raise UsageError(f"{on}: give exactly one of {', '.join(PLACES)}; it has {found}")
    if places != ["cluster"]:
        for key in ("kwargs", "scale", "adapt"):
            if key in table:
                raise UsageError(f"{on}: {key} is for a cluster that is started; leave it out beside {places[0]}")
    if "scale" in table and "adapt" in table:
        raise UsageError(f"{on}: scale and adapt exclude each other; keep one")
    return ClusterSpec(
        on=on,
        address=_address(table["address"], f"{on}, address = {table['address']!r}") if "address" in table else None,
        scheduler_file=folder / table["scheduler_file"] if "scheduler_file" in table else None,
        cluster=_class_name(table["cluster"], on) if "cluster" in table else None,
        kwargs=table.get("kwargs", {}),
        scale=_at_least(1, table["scale"], f"{on}, scale") if "scale" in table else None,
        adapt=_adapt(table["adapt"], on) if "adapt" in table else None,
        tls=_tls(table, folder, on) if "tls" in table else None,
        insecure=table.get("insecure", False),
    )


def parse_scheduler_file(text: str, name: str) -> str:
    """The address in what `dask scheduler --scheduler-file` wrote. Raises UsageError."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{name}: no valid JSON ({error}); `dask scheduler --scheduler-file FILE` writes it"
        ) from error
    address = found.get("address") if isinstance(found, dict) else None
    if not isinstance(address, str):
        raise UsageError(f"{name}: holds no address; `dask scheduler --scheduler-file FILE` writes one")
    return _address(address, f"{name}, address {address!r}")


def _check(table: Mapping[str, Any], keys: Mapping[str, type], where: str) -> None:
    """Raise UsageError for a key that is not known, and for a value of the wrong type."""
    for key, value in table.items():
        if key not in keys:
            nearest = difflib.get_close_matches(key, keys, 1, cutoff=0)[0]
            raise UsageError(f"{where}: no key {key!r} is known; did you mean {nearest!r}? All: {', '.join(keys)}")
        if type(value) is not keys[key]:
            raise UsageError(f"{where}: {key} = {value!r} should be {TYPE_NAMES[keys[key]]}")


def _address(text: str, where: str) -> str:
    address = parse_address(text)
    if address is None:
        raise UsageError(
            f"{where}: give local, inline, or a scheduler's address like tcp://127.0.0.1:8786, a scheduler file "
            "(.json), or a TOML file"
        )
    return address


def _class_name(text: str, on: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise UsageError(f"{on}: cluster = {text!r} should be 'module:Class', as in 'dask_jobqueue:SLURMCluster'")
    return text


def _at_least(least: int, number: int, where: str) -> int:
    if number < least:
        raise UsageError(f"{where} = {number}: give {least} or more")
    return number


def _adapt(table: Mapping[str, Any], on: str) -> Adapt:
    where = f"{on}, [adapt]"
    _check(table, ADAPT_KEYS, where)
    if "maximum" not in table:
        raise UsageError(f"{where}: maximum is missing; say how many workers there may be at most")
    minimum = _at_least(0, table.get("minimum", 1), f"{where}, minimum")
    return Adapt(minimum, _at_least(max(1, minimum), table["maximum"], f"{where}, maximum"))


def _tls(table: Mapping[str, Any], folder: Path, on: str) -> TlsFiles:
    files = table["tls"]
    _check(files, TLS_KEYS, f"{on}, [tls]")
    missing = [key for key in TLS_KEYS if key not in files]
    if missing:
        raise UsageError(f"{on}, [tls]: {', '.join(missing)} missing; TLS asks both ends for {', '.join(TLS_KEYS)}")
    if "security" in table.get("kwargs", {}):
        raise UsageError(f"{on}: [tls] and kwargs.security exclude each other; keep one")
    return TlsFiles(*(folder / files[key] for key in TLS_KEYS))


def _require_tls_address(spec: ClusterSpec, address: str) -> None:
    if spec.tls is not None and protocol_of(address) not in ("tls", "wss"):
        raise UsageError(f"{spec.on}: [tls] needs an address that begins with tls://, and this one is {address}")


def _require_files(spec: ClusterSpec) -> None:
    named = {"scheduler_file": spec.scheduler_file}
    if spec.tls is not None:
        named |= {f"[tls] {key}": getattr(spec.tls, key) for key in TLS_KEYS}
    for key, path in named.items():
        if path is not None and not path.is_file():
            raise UsageError(f"{spec.on}: there is no file {path} ({key}); paths in it count from its own folder")


def _text_of(path: Path, on: str) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise UsageError(f"--on {on}: there is no file {path}") from None
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--on {on}: {path} cannot be read: {error}") from error
