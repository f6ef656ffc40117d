"""`quark-bench history`: what it tells about the runs of a folder, and the files that it writes."""

import csv
import functools
import json
from xml.etree import ElementTree

import pytest

from quark_bench.cli.app import call
from quark_bench.errors import UsageError
from quark_bench.measures import measure_names

from .kept_runs import keep_again, real_manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """That of a real run."""
    return real_manifest(tmp_path_factory.mktemp("made"))


@pytest.fixture
def keep(manifest, tmp_path, monkeypatch):
    """`keep(day, latency_s, change)`: the run again, as if made on that day with that latency, its manifest changed."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(keep_again, manifest, tmp_path / "reports")


@pytest.fixture
def slowed(keep):
    """Ten steady runs and a slower one."""
    for day in range(1, 11):
        keep(day, 0.1 + 0.001 * (day % 4))
    keep(11, 0.15)


def told(capsys, *arguments):
    assert call(["history", *map(str, arguments)]) == 0
    return capsys.readouterr()


def rows(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_table_has_a_line_a_run_and_marks_the_one_outside(slowed, capsys):
    out = told(capsys).out
    lines = [line for line in out.splitlines() if line.startswith("202603")]
    assert len(lines) == 11
    assert lines[-1].split()[-1] == "worse"
    assert "150 ms" in lines[-1]
    assert not any("worse" in line for line in lines[:-1])
    assert out.startswith("p50_latency_s of async, echo over few, series ")
    assert "5 runs without a band: 5 earlier runs are needed" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_trend_is_no_verdict_the_exit_code_is_0_and_help_says_so(slowed, capsys):
    assert call(["history"]) == 0
    call(["history", "--help"])
    assert "the exit code is 0 whatever it shows" in " ".join(capsys.readouterr().out.split())


def test_runs_of_another_series_are_not_mixed_in_but_counted_with_what_differs(slowed, keep, capsys):
    for day in (12, 13):
        keep(day, 0.3, lambda manifest: manifest["cluster"].update(workers=7))
    keep(14, 0.1)
    out = " ".join(told(capsys).out.split())
    assert "Not shown: 2 runs of another series (--series " in out
    assert "that differs in workers" in out
    other = out.split("--series ")[1].split(")")[0]
    lines = told(capsys, "--series", other).out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("202603")] == [
        "20260312-120000-few",
        "20260313-120000-few",
    ]


def test_by_default_the_series_is_that_of_the_newest_run(slowed, keep, capsys):
    keep(12, 0.3, lambda manifest: manifest["dataset"].update(hash="0" * 64))
    data = json.loads(told(capsys, "--json").out)
    assert [run["run_id"] for run in data["runs"]] == ["20260312-120000-few"]
    assert [(each["runs"], each["differs_in"]) for each in data["other_series"]] == [(11, ["data set"])]


def test_runs_that_are_not_complete_or_cannot_be_read_are_counted_and_never_fatal(slowed, keep, capsys):
    keep(12, 0.1, lambda manifest: manifest.update(state="interrupted"))
    (keep(13, 0.1) / "manifest.json").write_text("{")
    keep(14, 0.1, lambda manifest: manifest["measures"]["async"].update(p50_latency_s={"value": "<script>"}))
    out = told(capsys).out
    assert "1 run left out: not complete" in out
    assert "2 runs left out: cannot be read" in out


def test_json_is_one_object_on_stdout_and_the_table_goes_to_stderr(slowed, capsys):
    found = told(capsys, "--json", "--arm", "sync")
    data = json.loads(found.out)
    assert (data["arm"], data["measure"], data["unit"]) == ("sync", "p50_latency_s", "s")
    assert [run["mark"] for run in data["runs"]] == [None] * 10 + ["worse"]
    assert data["runs"][-1]["band_low"] < 0.1 < data["runs"][-1]["band_high"] < 0.15
    assert data["runs"][0]["band_note"] == "5 earlier runs are needed"
    assert data["parts"]["place"] == "inline"
    assert "worse" in found.err


def test_the_csv_has_every_measure_of_every_arm_for_other_tools(slowed, tmp_path, capsys):
    told(capsys, "--csv", tmp_path / "history.csv")
    found = rows(tmp_path / "history.csv")
    columns = "series,run_id,started,commit,arm,measure,value,low,high,unit,band_low,band_high,mark"
    assert ",".join(found[0]) == columns
    assert len(found) == 11 * 3 * len(measure_names())
    assert {row["arm"] for row in found} == {"sync", "parallel", "async"}
    newest = [row for row in found if row["run_id"] == "20260311-120000-few" and row["mark"]]
    assert [(row["arm"], row["measure"], float(row["value"])) for row in newest] == [
        (arm, "p50_latency_s", 0.15) for arm in ("sync", "parallel", "async")
    ]


def test_the_csv_of_a_named_measure_has_that_alone(slowed, tmp_path, capsys):
    told(capsys, "--measure", "failed_share", "--csv", tmp_path / "history.csv")
    found = rows(tmp_path / "history.csv")
    assert {(row["arm"], row["measure"], row["unit"]) for row in found} == {("async", "failed_share", "share")}
    assert [row["started"] for row in found] == sorted(row["started"] for row in found)


def test_the_plot_names_series_and_measure_and_has_the_marked_run(slowed, tmp_path, capsys):
    told(capsys, "--plot", tmp_path / "plot.svg")
    root = ElementTree.fromstring((tmp_path / "plot.svg").read_text())
    texts = ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("p50_latency_s of async, echo over few, series ") for text in texts)
    assert {"worse", "95 % prediction band"} <= set(texts)
    assert any(text.endswith(" ms") for text in texts)


def test_the_plot_is_the_same_for_the_same_runs_and_may_be_a_png(slowed, tmp_path, capsys):
    for name in ("a.svg", "b.svg", "a.png"):
        told(capsys, "--plot", tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_run_without_a_value_is_shown_and_drawn(keep, tmp_path, capsys):
    keep(1)
    assert "1 run without a value" in told(capsys, "--plot", tmp_path / "plot.svg").out


def test_a_table_made_under_simulated_latency_says_so(keep, capsys):
    keep(1, 0.1, lambda manifest: manifest["pipeline"].update(latency_profile="demo"))
    assert "simulated latency (demo)" in " ".join(told(capsys).out.split())


def test_names_from_a_manifest_cannot_steer_the_terminal(keep, tmp_path, capsys):
    def hostile(manifest):
        manifest["pipeline"]["name"] = manifest["dataset"]["name"] = "\x1b[31m[bold]red"
        manifest["provenance"]["commit"] = manifest["started"] = "2026\x1b[2J\n\x1b[2J and more"

    keep(1, 0.1, hostile)
    found = told(capsys, "--json", "--plot", tmp_path / "plot.svg")
    assert "\x1b" not in found.out + found.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--measure", "p50_latncy_s"],
            "--measure 'p50_latncy_s': there is no such measure; did you mean 'p50_latency_s'",
        ),
        (["--arm", "asink"], "--arm 'asink': there is no such arm; did you mean 'async'"),
        (["--series", "zzz"], "--series 'zzz': there is no such series; did you mean '"),
        (["--plot", "plot.pdf"], "give a name that ends in .svg or .png"),
        (["--csv", "missing/history.csv"], "--csv missing/history.csv: cannot be written"),
        (["--out", "elsewhere"], "there are no complete runs in elsewhere; make one with: quark-bench run PROMPTS"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_to_do(slowed, arguments, message):
    with pytest.raises(UsageError) as refused:
        call(["history", *arguments])
    assert message in str(refused.value)


def test_settings_for_run_do_not_reach_the_option_of_the_same_name(slowed, tmp_path, capsys):
    (tmp_path / "pyproject.toml").write_text('[tool.quark-bench]\narm = ["sync", "async"]\n')
    assert told(capsys).out.startswith("p50_latency_s of async")
