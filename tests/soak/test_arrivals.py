"""How Poisson arrivals come at rates that a machine can keep, on 1, 2 and 4 workers."""

import time

import pytest

from quark_bench import Dataset, bench
from quark_bench.report import arrivals_cells

from ..conftest import PIPELINES

pytestmark = pytest.mark.soak
PROMPTS = 1_000


@pytest.mark.parametrize("rate", [50, 200, 500])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_poisson_arrivals_over_all_workers_together_are_independent(workers, rate, tmp_path, table):
    began_s = time.monotonic()
    dataset = Dataset.of([f"prompt {n}" for n in range(PROMPTS)])
    pipeline = str(PIPELINES / "waits.py:layers")
    run = bench(dataset, pipeline, on="local", workers=workers, rate=rate, scores=(), out=tmp_path)
    (check,) = run.arrivals
    told = "; ".join((arrivals_cells.headline(check), *arrivals_cells.lines(check)))
    law = "index of dispersion 0.8 to 1.2, no gap twice"
    table.append((f"{rate} a second, {workers} workers", law, told, time.monotonic() - began_s))
    assert run.records["worker"].nunique() == workers
    assert run.records["due_s"].sort_values().diff().round(12).nunique() == PROMPTS - 1
    assert 0.8 <= check.drawn_dispersion <= 1.2
    assert 0.8 <= check.dispersion <= 1.2 or not check.kept_up
