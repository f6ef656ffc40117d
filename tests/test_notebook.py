"""How a Run and a Comparison show themselves; names that users chose never become markup."""

import copy
import pickle
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.text import Text

from quark_bench import Arm, Dataset, Pipeline, Prompt, Strategy, agent, bench
from quark_bench.compare import Comparison
from quark_bench.errors import UsageError
from quark_bench.notebook import ShownComparison, as_html

MARKUP = "<script>alert('x')</script>&[red]"


@agent
def answer(prompt):
    if prompt.text == "fails":
        raise ValueError(MARKUP)
    return prompt.text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose pipeline, arm and data set are named after a script."""
    arms = [Arm("plain", Strategy.SEQUENTIAL, 1), Arm(MARKUP, Strategy.PARALLEL, 4)]
    pipeline = Pipeline(MARKUP, [answer], answer="answer")
    dataset = Dataset.of(["a", "b", "c", "fails"], MARKUP)
    return bench(dataset, pipeline, arms=arms, on="inline", warmup=1, out=tmp_path_factory.mktemp("runs"))


class Tags(HTMLParser):
    """Collects what a browser would take for elements, and for text."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.text = [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html):
    parser = Tags()
    parser.feed(html)
    parser.close()
    assert not parser.open, "every element is closed"
    return parser


def test_a_run_shows_its_table_in_a_notebook_with_names_escaped(run):
    page = parsed(run._repr_html_())
    assert page.names == {"pre", "span"}
    assert "latency, median" in page.text
    assert "<script>" in page.text


def test_a_run_fits_80_columns_in_a_notebook(run):
    assert max(map(len, parsed(run._repr_html_()).text.splitlines())) <= 80


def test_a_comparison_shows_a_table_in_a_notebook_with_names_escaped(run):
    page = parsed(run.compare("plain", MARKUP)._repr_html_())
    assert page.names == {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    assert f"{MARKUP} against plain" in page.text


def test_a_comparison_without_an_interval_says_why(run):
    page = parsed(run.compare("plain", MARKUP)._repr_html_())
    assert "n too small" in page.text
    assert "n/a" not in page.text


def test_a_comparison_reads_as_a_sentence_in_a_terminal(run):
    told = repr(run.compare("plain", MARKUP))
    assert told.startswith(f"{MARKUP} vs plain: ")
    assert "gave the same answers" in told
    assert "\n" not in told


def test_a_shown_comparison_is_the_comparison(run):
    shown = run.compare("plain", MARKUP)
    assert isinstance(shown, ShownComparison)
    assert isinstance(shown, Comparison)
    assert ShownComparison.of(shown) == shown
    assert copy.copy(shown) == pickle.loads(pickle.dumps(shown)) == shown


def test_a_renderable_becomes_preformatted_text_of_80_columns():
    page = parsed(as_html(Text("word " * 40)))
    assert page.names == {"pre"}
    assert max(map(len, page.text.splitlines())) <= 80


def test_text_for_a_notebook_is_not_read_as_markup():
    assert parsed(as_html(Text(MARKUP))).text.strip() == MARKUP


def test_a_data_set_shows_its_first_prompts_with_their_texts_escaped():
    prompts = [Prompt(f"p-{n}", MARKUP, category=MARKUP, reference=(MARKUP, "b")) for n in range(9)]
    page = parsed(Dataset(prompts, MARKUP)._repr_mimebundle_()["text/html"])
    assert page.names == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert f"{MARKUP}: 9 prompts, with references; the first 5" in page.text
    assert "p-4" in page.text
    assert "p-5" not in page.text


def test_a_pipeline_shows_its_dag_as_a_picture_of_its_own_and_as_text(run):
    shown = Pipeline(MARKUP, [answer])._repr_mimebundle_()
    assert set(shown) == {"image/svg+xml", "text/plain"}
    assert shown["text/plain"].strip() == "answer  ← prompt"
    ElementTree.fromstring(shown["image/svg+xml"])


def test_a_runs_dag_tells_what_agents_took(run):
    shown = run.dag("plain")
    assert "100 % of the critical path" in repr(shown)
    with pytest.raises(UsageError, match="has no arm 'plian'"):
        run.dag("plian")


def test_a_prompt_shows_its_calls_under_each_arm_as_the_terminal_does(run):
    shown = run.show("p-4")
    assert MARKUP in repr(shown)
    assert "on the critical path" in repr(shown)
    assert parsed(shown._repr_html_()).names == {"pre", "span"}
    with pytest.raises(UsageError, match="did you mean"):
        run.show("p-44")


def test_a_figure_is_a_picture_of_its_own(run):
    drawing = ElementTree.fromstring(run.figure("waterfall")._repr_mimebundle_()["image/svg+xml"])
    assert drawing.get("width")
    assert "background:#fff" in drawing.get("style")
    with pytest.raises(UsageError, match="no figure 'waterfal'"):
        run.figure("waterfal")
    with pytest.raises(UsageError, match="nothing to draw"):
        run.figure("attribution")
