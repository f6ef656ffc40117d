"""Faces: what a run found, as it shows itself in a notebook and in a terminal; what draws it is imported when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quark_bench.blame import Blame
from quark_bench.capacity import Capacity
from quark_bench.compare import Comparison
from quark_bench.what_if import WhatIf

if TYPE_CHECKING:
    from quark_bench.notebook import ShownCapacity


def shown(comparison: Comparison) -> Comparison:
    """The comparison with a face: text in a terminal, a table in a notebook."""
    from quark_bench.notebook import ShownComparison

    return ShownComparison.of(comparison)


def shown_blame(found: Blame) -> Blame:
    """The blame with a face: a table in a terminal and in a notebook."""
    from quark_bench.notebook import ShownBlame

    return ShownBlame.of(found)


def shown_what_if(found: WhatIf) -> WhatIf:
    """The prediction with a face: sentences in a terminal, tables in a notebook."""
    from quark_bench.notebook import ShownWhatIf

    return ShownWhatIf.of(found)


def shown_capacity(found: Capacity) -> ShownCapacity:
    """The simulation with a face: sentences in a terminal, a table in a notebook."""
    from quark_bench.notebook import ShownCapacity

    return ShownCapacity.of(found)
