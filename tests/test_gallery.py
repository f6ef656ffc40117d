"""The example report: small, of no machine in particular, linked from the README, made anew by `make report`."""

import re
from pathlib import Path

import pytest

from . import gallery

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / gallery.EXAMPLE


def test_the_example_is_small_enough_to_be_committed_and_has_its_picture():
    assert 10_000 < (EXAMPLE / gallery.REPORT).stat().st_size < gallery.LARGEST_REPORT
    picture = (EXAMPLE / gallery.PICTURE).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < gallery.LARGEST_PICTURE


def test_the_example_tells_how_it_was_made_and_nothing_of_the_machines_folders():
    text = (EXAMPLE / gallery.REPORT).read_text()
    assert f"quark-bench run {gallery.PROMPTS} --repeats {gallery.REPEATS} --seed 0" in text
    assert "simulated latency (demo)" in text
    assert not re.search(r"(?<!\w)/(home|root|tmp|Users|work)/", text)
    assert "<dt>host</dt>" not in text


def test_the_readme_shows_the_picture_and_links_the_report():
    text = (ROOT / "README.md").read_text()
    assert f"({gallery.EXAMPLE}/{gallery.PICTURE})]({gallery.EXAMPLE}/{gallery.REPORT})" in text


def test_without_a_browser_the_picture_is_left_as_it_was(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gallery, "make_report", lambda folder: folder / gallery.REPORT)
    monkeypatch.setattr(gallery, "EXAMPLE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / gallery.PICTURE).write_bytes(b"a picture")
    gallery.main()
    assert f"{tmp_path / gallery.PICTURE} is left as it was" in capsys.readouterr().out
    assert (tmp_path / gallery.PICTURE).read_bytes() == b"a picture"


def test_a_picture_is_taken_where_there_is_a_browser(tmp_path):
    report = tmp_path / gallery.REPORT
    report.write_text("<!doctype html><title>small</title><h1>A report</h1>")
    assert gallery.take_picture(report, "/usr/bin/chromium").read_bytes().startswith(b"\x89PNG")


def test_what_is_too_large_to_be_committed_is_refused(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(AssertionError, match="has 11 bytes, more than the 10 that may be committed"):
        gallery.within(tmp_path / "large", 10)
