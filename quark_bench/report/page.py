"""Page: what small HTML documents of ours share: escaping, the style sheet, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import functools
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from quark_bench.plain import plain, shortened
from quark_bench.report.tables import LONGEST_LINE


@cache
def template(name: str, longest: int = LONGEST_LINE) -> Template:
    """A template beside this module. Text from outside is escaped and cut at `longest` characters, its control
    characters are shown."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=functools.partial(_bounded, longest),
        loader=FunctionLoader(resource),
    )
    return environment.get_template(name)


def stylesheet() -> Markup:
    """The style sheet of every page."""
    return Markup(resource("report.css"))  # noqa: S704 - our own file


def policy(script: str = "") -> str:
    """A Content-Security-Policy: nothing is loaded or sent, and of scripts only this one, by its hash, may run."""
    allowed = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    if not script:
        return allowed
    told = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{allowed}; script-src 'sha256-{told}'"


def resource(name: str) -> str:
    """A text file beside this module."""
    return files("quark_bench.report").joinpath(name).read_text("utf-8")


def _bounded(longest: int, value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return plain(shortened(value, longest))
    return value
