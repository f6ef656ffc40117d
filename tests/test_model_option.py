"""A real model in the place of a pipeline's own: in every way to execute, in manifests, and on the command line."""

import json
import os

import pandas as pd
import pytest
from rich.console import Console

from quark_bench import Arm, Dataset, Pipeline, agent, openai_model
from quark_bench.agents.quark import quark
from quark_bench.baseline import find_baseline
from quark_bench.errors import ExecutionError, UsageError
from quark_bench.models.prices import Price
from quark_bench.models.shipment import ModelledShipment
from quark_bench.report.tables import run_table
from quark_bench.resolve import resolve
from quark_bench.series import series_of
from quark_bench.store import read_manifest
from quark_bench.testing import ModelServer
from quark_bench.user_code import pack_pipeline

from .conftest import PIPELINES
from .forked import run as run_command
from .test_resume import interrupted
from .test_secrets import left_by

KEY = "Zq8-unlikely-Value-79"
NAMED = f"{PIPELINES / 'asking.py'}:pipeline"


@pytest.fixture(scope="module")
def server():
    with ModelServer(first_token_s=0, between_tokens_s=0, tokens=4, faults=["500: pattern=<500>"]) as started:
        yield started


def test_a_users_pipeline_asks_the_model_of_the_run_in_every_way(way, run_with, server):
    model = openai_model("small", base_url=server.base_url, prices=Price(1e6, 1e6))
    run = run_with(way, 3, "asking.py:pipeline", arms=["sync", "async"], model=model)
    assert list(run.records["status"]) == ["ok"] * 6
    assert (run.records["tokens_out"] == 8).all()
    assert (run.records["cost_usd"] == run.records["tokens_in"] + 8).all()
    assert run.manifest["pipeline"]["model"] == f"openai:small at {server.base_url}"
    assert run.manifest["pipeline"]["price"] == {"usd_per_million_in": 1e6, "usd_per_million_out": 1e6}


def test_calls_are_told_as_the_server_counted_them(inline, run_with, server):
    run = run_with(inline, 2, "asking.py:pipeline", arms=["async"], model=openai_model("m", base_url=server.base_url))
    calls = pd.read_parquet(run.path / "calls")
    assert set(calls["model"]) == {"openai:m"}
    assert not calls["estimated"].any()
    assert set(calls["finish_reason"]) == {"stop"}
    assert (calls["first_token_s"] > 0).all()
    run.report()
    assert "Cost: no prices given; add --prices FILE" in text_of(run)
    assert "no prices given; add --prices FILE" in (run.path / "report.html").read_text("utf-8")


def text_of(run):
    console = Console(width=80)
    with console.capture() as captured:
        console.print(run_table(run.findings))
    return captured.get()


def test_arms_with_pipelines_of_their_own_ask_it_too(inline, run_with, server):
    @agent
    async def only(prompt, call):
        return (await call.model([{"role": "user", "content": prompt.text}])).text

    own = Arm("own", in_flight=2, pipeline=Pipeline("own", [only]))
    model = openai_model("m", base_url=server.base_url)
    run = run_with(inline, 2, "asking.py:pipeline", arms=["async", own], model=model)
    assert set(run.records["status"]) == {"ok"}
    assert set(run.records[run.records["arm"] == "own"]["tokens_out"]) == {4}


def test_another_model_another_server_and_other_options_are_other_pipelines_and_series():
    shipment = pack_pipeline(quark())
    models = [
        openai_model("m", base_url="http://a/v1"),
        openai_model("n", base_url="http://a/v1"),
        openai_model("m", base_url="http://b/v1"),
        openai_model("m", base_url="http://a/v1", temperature=0.5),
        openai_model("m", base_url="http://a/v1", stream=False),
    ]
    shipped = [ModelledShipment(shipment, model) for model in models]
    assert len({each.key for each in shipped}) == len({each.code_hash for each in shipped}) == len(models)
    assert len({series_of({"pipeline": {"model": model.told}}).id for model in models}) == len(models)
    dearer = ModelledShipment(shipment, openai_model("m", base_url="http://a/v1", prices=Price(1, 1)))
    assert dearer.code_hash == shipped[0].code_hash
    assert dearer.key != shipped[0].key, "a process that has loaded the one must not answer for the other"
    again = ModelledShipment(shipment, openai_model("m", base_url="http://a/v1"))
    assert (again.key, again.code_hash) == (shipped[0].key, shipped[0].code_hash)


def test_what_is_loaded_and_what_is_outlined_ask_the_model():
    model = openai_model("m", base_url="http://a/v1")
    found, pack = resolve(NAMED, model=model)
    assert found.model.told == pack().load().model.told == pack().outline().model.told == model.told


def test_both_sides_of_a_gate_ask_the_model(tmp_path):
    model = openai_model("m", base_url="http://a/v1")
    for against in (None, NAMED):
        with find_baseline(against, NAMED, Dataset.of(["hello"]), tmp_path, model) as baseline:
            assert baseline.pipeline.model is model
            assert baseline.shipment.load().model.told == model.told
            assert baseline.shipment.code_hash == resolve(NAMED, model=model)[1]().code_hash


def test_a_run_is_not_continued_with_another_model(inline, tmp_path, server):
    model = openai_model("m", base_url=server.base_url)
    path, options = interrupted(inline, tmp_path, model=model, pipeline=NAMED)
    assert read_manifest(path)["pipeline"]["model"] == model.told
    with pytest.raises(UsageError, match=r"cannot be continued: the pipeline's code, the model changed"):
        interrupted(inline, tmp_path, **options | {"model": openai_model("n", base_url=server.base_url)}, resume=path)


def test_a_server_that_is_not_there_stops_a_run_before_its_first_prompt(way, run_with):
    model = openai_model("m", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ExecutionError, match=r"nothing listens at http://127.0.0.1:1/v1; start the server there"):
        run_with(way, 2, "asking.py:pipeline", arms=["async"], model=model)


def test_the_command_asks_a_server_with_a_key_that_it_leaves_nowhere(tmp_path):
    """On two worker processes; the variable has no name that looks like a key's, and the server gives it away."""
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"text": "What is a comet?"}) + "\n", "utf-8")
    environment = os.environ | {"WHATEVER": KEY}
    with ModelServer(first_token_s=0, between_tokens_s=0, key=KEY, answer=f"It is {KEY}.") as server:
        line = ["run", "prompts.jsonl", "--model", "openai:m", "--base-url", server.base_url, "--arm", "async"]
        line += ["--warmup", "1", "--api-key-env", "WHATEVER"]
        told = run_command(
            "quark-bench", *line, "--workers", "2", folder=tmp_path, environment=environment, timeout_s=100
        )
        assert told.returncode == 0, told.stderr
        assert server.stats()["by_status"].keys() == {200}
        refused = run_command(
            "quark-bench", *line[:-2], "--on", "inline", folder=tmp_path, environment=environment, timeout_s=100
        )
        assert refused.returncode == 4
        assert "set OPENAI_API_KEY to a key" in " ".join(refused.stderr.split())
    assert "no prices given; add --prices FILE" in told.stdout
    (run,) = (tmp_path / "reports").iterdir()
    for text in (told.stdout, told.stderr, refused.stdout, refused.stderr, *left_by(run)):
        assert KEY not in text


def test_a_model_that_answers_nothing_fails_every_trial_and_is_exit_4(tmp_path, server):
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"text": "<500>"}) + "\n", "utf-8")
    line = ["run", "prompts.jsonl", "--pipeline", NAMED, "--model", "openai:m", "--base-url", server.base_url]
    told = run_command(
        "quark-bench", *line, "--arm", "async", "--on", "inline", folder=tmp_path, environment=os.environ, timeout_s=100
    )
    assert told.returncode == 4
    assert "the first error: ModelServerError: the server at" in " ".join(told.stdout.split())


def test_meta_async_asks_it_too(tmp_path, server):
    line = ["test", "--prompt", "What is a comet?", "--model", "openai:m", "--base-url", server.base_url, "--json"]
    told = run_command("meta-async", *line, folder=tmp_path, environment=os.environ, timeout_s=100)
    assert told.returncode == 0, told.stderr
    assert len(json.loads(told.stdout)["answer"].split()) == 4
