"""Provenance: where a run's numbers come from. Flat text, so that two runs can be laid side by side."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("quark-bench", "dask", "distributed", "pandas", "pyarrow", "numpy", "scipy", "cloudpickle")


def provenance() -> dict[str, str]:
    """Versions, machine, load and commit of the working folder; what cannot be known is left out."""
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        "memory": _memory(),
        "load_before": _load(),
        **{package: version for package in PACKAGES if (version := _version(package))},
        **_git(),
    }
    return {name: value for name, value in found.items() if value}


NOBODY = {"host": "", "pid": 0, "started_s": 0.0}
"""Stands for the client of a run that does not name one."""


def this_client() -> dict[str, Any]:
    """The process that carries out a run, so that it can be told whether it still does."""
    return {"host": platform.node(), "pid": os.getpid(), "started_s": psutil.Process().create_time()}


def is_alive(client: Mapping[str, Any]) -> bool:
    """Whether another process of this machine is that client; of other machines nothing is known."""
    if client["host"] != platform.node() or client["pid"] == os.getpid():
        return False
    try:
        started_s = float(psutil.Process(client["pid"]).create_time())
    except psutil.Error:
        return False
    return bool(abs(started_s - client["started_s"]) < 1)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return ""
    return f"{size / 1e9:.1f} GB"


def _load() -> str:
    try:
        return f"{os.getloadavg()[0]:.2f}"
    except (OSError, AttributeError):
        return ""


def _git() -> dict[str, str]:
    """Commit and cleanliness of the repository around the working folder, if there is one."""
    git = shutil.which("git")
    if git is None:
        return {}
    try:
        commit = _ask(git, "rev-parse", "--short=12", "HEAD")
        changed = bool(_ask(git, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": f"{commit} with uncommitted changes" if changed else commit}


def _ask(git: str, *arguments: str) -> str:
    answer = subprocess.run([git, *arguments], capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    return answer.stdout.strip()
