"""`quark-bench index`: all runs of a folder as one page, looked at as a file and in a browser."""

import functools
from html.parser import HTMLParser

import pytest

from quark_bench.cli import index
from quark_bench.cli.app import call
from quark_bench.errors import RunNotFoundError

from .browsers import browser, faults, page_of
from .gate_results import PASSED
from .kept_runs import keep_again, real_manifest

MARKUP = "</script></style><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'\u202e"
STEADY = 8


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return real_manifest(tmp_path_factory.mktemp("made"))


@pytest.fixture
def reports(tmp_path):
    return tmp_path / "reports"


@pytest.fixture
def keep(manifest, reports):
    return functools.partial(keep_again, manifest, reports)


@pytest.fixture
def page(reports, capsys):
    """`page()`: the index of what is kept."""

    def made():
        assert call(["index", "--out", str(reports)]) == 0
        assert capsys.readouterr().out == f"{reports / 'index.html'}\n"
        return (reports / "index.html").read_text()

    return made


class Table(HTMLParser):
    """The cells of the table's rows, as text, and the links in them."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.links, self.tags, self._open = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._open = True
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data):
        if self._open:
            self.rows[-1][-1] += data


def test_every_run_has_a_row_the_newest_first_with_a_link_where_a_report_is(keep, page):
    keep(1, 0.1)
    (keep(2, 0.2) / "report.html").write_text("a report")
    table = Table(page())
    assert [row[0] for row in table.rows[1:]] == ["20260302-120000-few", "20260301-120000-few"]
    newest = dict(zip(table.rows[0], table.rows[1], strict=True))
    assert (newest["started"], newest["pipeline"], newest["data set"]) == ("2026-03-02 12:00", "echo", "few")
    assert (newest["prompts"], newest["arms"], newest["state"]) == ("8", "sync, parallel, async", "complete")
    assert newest["median latency"] == "200 ms"
    assert table.links == ["./20260302-120000-few/report.html"]


def test_a_report_that_is_a_link_to_elsewhere_is_not_linked(keep, page, tmp_path):
    (tmp_path / "elsewhere.html").write_text("")
    (keep(1, 0.1) / "report.html").symlink_to(tmp_path / "elsewhere.html")
    assert Table(page()).links == []


def test_scores_and_the_verdicts_of_gates_stand_in_the_table(keep, page):
    def change(manifest):
        manifest["gate"] = PASSED.as_data() | {"slos_missed": ["p95_latency_s<2"]}
        for measures in manifest["measures"].values():
            measures |= {f"score_{name}": dict(measures["failed_share"], value=0.5) for name in ("exact", "f1")}

    keep(1, 0.1, change)
    table = Table(page())
    row = dict(zip(table.rows[0], table.rows[1], strict=True))
    assert row["score"] == "exact 0.500f1 0.500"
    assert row["gate"] == "passobjective missed"


def test_damaged_runs_are_counted_and_unfinished_ones_stand_without_numbers(keep, page):
    keep(1, 0.1)
    (keep(2, 0.1) / "manifest.json").write_text("{")

    def cut_off(manifest):
        manifest.update(state="interrupted")
        del manifest["measures"]

    keep(3, 0.1, cut_off)
    text = page()
    assert "1 run left out: cannot be read; quark-bench ls says why" in text
    table = Table(text)
    assert [row[6] for row in table.rows[1:]] == ["interrupted", "complete"]
    assert table.rows[1][7] == "n/a"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_folder_without_runs_is_exit_2_and_says_what_to_do(damaged, reports, keep):
    if damaged:
        (keep(1, 0.1) / "manifest.json").write_text("{")
    with pytest.raises(RunNotFoundError, match=r"there are no runs in .*make one with: quark-bench run PROMPTS"):
        call(["index", "--out", str(reports)])


def test_each_series_with_several_runs_has_its_history_drawn(keep, page):
    for day in range(1, STEADY):
        keep(day, 0.1 + 0.001 * (day % 3))
    keep(STEADY, 0.15)
    keep(20, 0.1, lambda manifest: manifest["cluster"].update(workers=7))
    text = page()
    assert text.count("<article") == 1
    assert text.count('<svg class="figure"') == len(index.PLOTTED)
    assert "1 of 3 runs outside the band, the last of them 20260308-120000-few, which is worse" in text
    assert "it is a trend, no verdict" in text


def test_a_page_holds_so_many_figures_and_says_how_many_series_are_not_drawn(keep, page, monkeypatch):
    monkeypatch.setattr(index, "MOST_FIGURES", 2 * len(index.PLOTTED))
    for day in range(1, 9):
        keep(day, 0.1, lambda manifest, workers=day // 2: manifest["cluster"].update(workers=workers))
    text = page()
    assert text.count("<article") == 2
    assert "1 more series not drawn: quark-bench history --series ID draws them" in text


def test_of_a_long_series_the_newest_runs_are_drawn_and_all_make_the_bands(keep, page, monkeypatch):
    monkeypatch.setattr(index, "MOST_RUNS", 3)
    for day in range(1, STEADY):
        keep(day, 0.1 + 0.001 * (day % 3))
    text = page()
    assert "drawn are the newest 3; bands come from earlier ones too" in text
    assert "95 % prediction band" in text


def hostile(manifest):
    for place in (manifest["dataset"], manifest["pipeline"], manifest["arms"][-1]):
        place["name"] = MARKUP
    manifest["started"] = manifest["state"] = MARKUP
    manifest["granularity"]["chunk_size"][MARKUP] = 1
    manifest["measures"][MARKUP] = manifest["measures"]["async"]
    manifest["gate"] = PASSED.as_data() | {"verdict": MARKUP}


def hostile_series(manifest):
    hostile(manifest)
    manifest["state"] = "complete"
    manifest["cluster"]["on"] = MARKUP
    manifest["measures"][MARKUP] = dict(manifest["measures"][MARKUP])
    manifest["measures"][MARKUP][f"score_{MARKUP}"] = manifest["measures"]["async"]["failed_share"]


def test_text_from_runs_stays_text(keep, page):
    keep(1, 0.1, hostile)
    keep(2, 0.1, hostile_series)
    keep(3, 0.1, hostile_series)
    table = Table(page())
    assert table.tags.count("script") == 1
    assert not {"img", "iframe", "link"} & set(table.tags)
    assert "\u202e" not in "".join(map("".join, table.rows))


def test_in_a_browser_the_table_is_searched_and_sorted_and_nothing_leaves_the_page(keep, page, reports):
    for day in range(1, STEADY):
        keep(day, 0.1 + 0.01 * (day * 3 % 7))
    keep(9, None)
    keep(10, 0.1, hostile_series)
    keep(11, 0.1, hostile_series)
    page()
    with browser() as opened:
        for width, scheme in ((1200, "light"), (390, "dark")):
            size = {"width": width, "height": 900}
            with page_of(opened, reports / "index.html", viewport=size, color_scheme=scheme) as shown:
                assert shown.evaluate("document.documentElement.scrollWidth") <= width
                assert shown.title() == "10 runs in " + str(reports) + " | quark-bench"
                assert faults(shown) == []
                assert_sorted(shown)
                assert_searched(shown)


def test_on_paper_no_column_of_the_index_is_cut_off(keep, page, reports):
    keep(1, 0.1)
    page()
    with browser() as opened, page_of(opened, reports / "index.html", viewport={"width": 720, "height": 900}) as shown:
        shown.emulate_media(media="print", color_scheme="dark")
        assert shown.evaluate("document.documentElement.scrollWidth") <= 720
        assert faults(shown) == []


def column(shown, number):
    return shown.evaluate(
        f"[...document.querySelectorAll('.runs tbody tr')].map(row => row.cells[{number}].dataset.key)"
    )


def assert_sorted(shown):
    """By a click and by the keyboard, either way, with what is not known last."""
    button = shown.locator(".runs thead button", has_text="median latency")
    head = shown.locator(".runs thead th", has_text="median latency")
    button.click()
    rising = column(shown, 7)
    assert rising[-1] == ""
    assert [float(key) for key in rising[:-1]] == sorted(float(key) for key in rising[:-1])
    assert head.get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    falling = column(shown, 7)
    assert falling[-1] == ""
    assert falling[0] == max(rising[:-1], key=float)


def assert_searched(shown):
    shown.get_by_label("Search").fill("20260303 ECHO")
    assert shown.locator(".runs tbody tr:visible").count() == 1
    assert shown.locator("#found").text_content() == "1 of 10 shown"
    shown.get_by_label("Search").fill("")
    assert shown.locator(".runs tbody tr:visible").count() == 10
