"""How blocks are cut, and why: what stands in the manifest, and what the cost model chose and foretold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute import Setting
from quark_bench.execute.granularity import Prediction
from quark_bench.layout import Layout
from quark_bench.plan import Granularity

from .pipelines import waits

seconds = st.floats(0, 1e6)
layouts = st.builds(
    Layout,
    settings=st.dictionaries(st.text(), st.builds(Setting, st.just(Granularity.CHUNK), st.integers(1, 2_000))),
    choice=st.just(Granularity.CHUNK),
    reason=st.text(),
    predictions=st.dictionaries(st.text(), st.builds(Prediction, seconds, st.none() | seconds)),
)


@given(layouts)
def test_a_layout_is_read_as_it_was_written(layout):
    assert Layout.of_data(json.loads(json.dumps(layout.as_data()))) == layout


def test_a_layout_of_a_run_that_foretold_nothing_is_read():
    told = {"choice": "agent", "reason": "asked for", "chunk_size": {"sync": 3}}
    assert Layout.of_data(told) == Layout({"sync": Setting(Granularity.AGENT, 3)}, Granularity.AGENT, "asked for")


@pytest.mark.timed
def test_agents_that_wait_are_put_into_chunks_and_take_about_as_long_as_predicted(cluster, run_with, way_named):
    auto = way_named("dask-chunk")._replace(granularity="auto")
    chosen = run_with(auto, 24, "waits.py:layers", arms=["sync", "async"], in_flight=8, warmup=8).manifest
    told = chosen["granularity"]
    assert told["choice"] == "chunk"
    assert told["predicted"]["sync"]["agent_s"] is None
    for arm in ("sync", "async"):
        assert 0.8 <= told["took_s"][arm] / told["predicted"][arm]["chunk_s"] <= 2
    assert told["predicted"]["async"]["chunk_s"] >= 24 / 8 * waits.CRITICAL_PATH_S
    assert told["predicted"]["async"]["agent_s"] > told["predicted"]["async"]["chunk_s"]
