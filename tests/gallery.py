"""Makes the example report anew, with its picture: `python -m tests.gallery`, from the repository's folder.

A run of the quickstart with a fixed seed. Answers and simulated latencies are the same every time, the rest is what the
machine takes. Of the run only the report is kept, without the machine's name and folders.
"""

import shutil
import tempfile
from pathlib import Path

from quark_bench import Dataset, bench, store
from quark_bench.agents.quark import quark
from quark_bench.run import REPORT, Run

EXAMPLE = Path("reports/example")
PICTURE = "report.png"
PROMPTS = "datasets/quickstart.jsonl"
REPEATS = 3
LARGEST_REPORT = 1_000_000
LARGEST_PICTURE = 200_000
"""Bytes: both are committed."""
VIEWPORT = {"width": 1100, "height": 820}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def make_report(folder):
    """Run the quickstart and keep its report in `folder`; the report's path."""
    with tempfile.TemporaryDirectory() as out:
        command = f"quark-bench run {PROMPTS} --repeats {REPEATS} --seed 0"
        run = bench(Dataset.read(PROMPTS), quark(latency="demo"), repeats=REPEATS, seed=0, out=out, command=command)
        manifest = store.read_manifest(run.path)
        del manifest["provenance"]["host"]
        manifest["dataset"]["path"] = PROMPTS
        store.write_manifest(run.path, manifest)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Run(run.path).report(), folder / REPORT)
    return within(folder / REPORT, LARGEST_REPORT)


def take_picture(report, browser):
    """A picture of the report's top beside it; its path, or None where there is no browser to take it."""
    if browser is None:
        return None
    from playwright.sync_api import sync_playwright

    target = report.with_name(PICTURE)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport=VIEWPORT, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.screenshot(path=target)
        opened.close()
    return within(target, LARGEST_PICTURE)


def within(path, most):
    size = path.stat().st_size
    assert size <= most, f"{path} has {size:,} bytes, more than the {most:,} that may be committed"
    return path


def main():
    report = make_report(EXAMPLE)
    print(report)
    browser = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    picture = take_picture(report, browser)
    print(picture or f"no Chromium here ({', '.join(CHROMIUMS)}): {EXAMPLE / PICTURE} is left as it was")


if __name__ == "__main__":
    main()
