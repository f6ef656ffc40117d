"""Inspect log: a log of the Inspect framework as a run's rows; reading one executes nothing, and needs no Inspect.

Source of the format: inspect_ai 0.3.285, `log/_recorders/eval.py`, `log/_log.py` and `event/`.
"""

from __future__ import annotations

from quark_bench.inspect_log.archive import InspectLog
from quark_bench.inspect_log.needs import FollowedBy
from quark_bench.inspect_log.trials import LoggedTrial, read_trial

__all__ = ["FollowedBy", "InspectLog", "LoggedTrial", "read_trial"]
