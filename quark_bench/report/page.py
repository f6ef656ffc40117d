"""Page: what small HTML documents of ours share: escaping, the style sheet, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from quark_bench.plain import plain, shortened
from quark_bench.report.tables import LONGEST_LINE


@cache
def template(name: str) -> Template:
    """A template beside this module. Text from outside is escaped and cut, its control characters are shown."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_bounded
    )
    return environment.from_string(resource(name))


def stylesheet() -> Markup:
    """The style sheet of every page."""
    return Markup(resource("report.css"))  # noqa: S704 - our own file


def policy(script: str = "") -> str:
    """A Content-Security-Policy: nothing is loaded, and of scripts only this one, by its hash, may run."""
    allowed = "default-src 'none'; style-src 'unsafe-inline'"
    if not script:
        return allowed
    told = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{allowed}; script-src 'sha256-{told}'"


def resource(name: str) -> str:
    """A text file beside this module."""
    return files("quark_bench.report").joinpath(name).read_text("utf-8")


def _bounded(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return plain(shortened(value, LONGEST_LINE))
    return value
