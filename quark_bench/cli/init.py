"""`quark-bench init`: a pipeline and prompts to start from, and the workflow that gates them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from quark_bench.errors import UsageError
from quark_bench.plain import one_line

GITHUB = "github"
WORKFLOW = Path(".github", "workflows", "quark-bench.yml")


def init(folder: Path, ci: str | None) -> int:
    """Write the files that are not there yet, say which are, and name the next commands.

    Raises UsageError for a CI that is not known and for a folder that cannot be written to.
    """
    if ci not in (None, GITHUB):
        raise UsageError(f"--ci {ci}: only {GITHUB} is known; for others run the same `quark-bench gate` there")
    missing = {path: _write(path, text) for path, text in _starter(folder, ci)}
    for path, written in missing.items():
        print(f"{'Wrote' if written else 'Kept':<6}{one_line(path)}{'' if written else ', which was there already'}")
    if not any(missing.values()):
        print("Nothing was written: everything is there already")
    _tell_next(folder, gated=ci is not None)
    return 0


def _starter(folder: Path, ci: str | None) -> Iterator[tuple[Path, str]]:
    yield folder / "support.py", _template("support.py.txt")
    yield folder / "prompts.jsonl", _template("prompts.jsonl")
    if ci is not None:
        yield _workflow(folder)


def _workflow(folder: Path) -> tuple[Path, str]:
    """GitHub reads workflows at the top of a repository only, also where the pipeline lies further down."""
    place = folder.resolve()
    top = next((each for each in (place, *place.parents) if (each / ".git").exists()), place)
    below = place.relative_to(top).as_posix()
    text = _template("quark-bench.yml").replace("@folder@", json.dumps(below)).replace("@path@", below)
    return (folder if top == place else top) / WORKFLOW, text


def _template(name: str) -> str:
    return files("quark_bench.cli").joinpath("starter", name).read_text("utf-8")


def _write(path: Path, text: str) -> bool:
    """Whether there was no such file, which there is now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise UsageError(f"{path.parent} is no folder; name another one: quark-bench init FOLDER") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; name another folder") from error
    return True


def _tell_next(folder: Path, *, gated: bool) -> None:
    """The commands to type now."""
    within = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(one_line(folder))}"
    commands = (
        within,
        "quark-bench run prompts.jsonl --pipeline support.py:pipeline",
        "quark-bench show last",
        "quark-bench gate prompts.jsonl --pipeline support.py:pipeline --against main",
    )
    print("\nNext")
    for command in filter(None, commands):
        print(f"  {command}")
    if gated:
        print("Commit the files: pull requests are gated once their base branch has support.py.")
