"""Runs as they are kept: the manifest of a real one, written again as if it had been made on other days."""

import copy
import json

from quark_bench import Dataset, Pipeline, agent, bench


@agent
async def answer(prompt):
    return prompt.text


def real_manifest(folder, scores=()):
    pipeline = Pipeline("echo", [answer], answer="answer")
    prompts = Dataset.of([f"prompt {n}" for n in range(8)], "few")
    made = bench(prompts, pipeline, on="inline", warmup=1, scores=scores, out=folder)
    return json.loads((made.path / "manifest.json").read_text())


def keep_again(manifest, out, day, latency_s=None, change=lambda manifest: None):
    """The run as if made on that day of March with that median latency, its manifest changed; its folder."""
    again = copy.deepcopy(manifest)
    again["run_id"] = f"202603{day:02d}-120000-few"
    again["started"] = f"2026-03-{day:02d}T12:00:00+00:00"
    again["provenance"]["commit"] = f"{day:012x}"
    for measures in again["measures"].values():
        measures["p50_latency_s"] |= {"value": latency_s, "low": None, "high": None, "note": ""}
    change(again)
    path = out / again["run_id"]
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps(again))
    return path
