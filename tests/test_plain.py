import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from quark_bench.plain import JOINERS, STEERING, one_line, plain, shortened

anything = st.text(max_size=40)


@given(anything)
def test_nothing_that_steers_is_left_and_nothing_else_is_touched(text):
    shown = one_line(text)
    assert all(unicodedata.category(each) not in STEERING or each in JOINERS for each in shown)
    assert one_line(shown) == shown
    if text.isprintable():
        assert shown == plain(text) == text


def test_control_characters_are_shown_as_escapes():
    assert plain("a\x1b[31m\x9b\x00\u202e\ud800") == "a\\x1b[31m\\x9b\\x00\\u202e\\ud800"


def test_lines_stay_lines_in_text_and_not_in_names():
    assert plain("a\n\tb\r") == "a\n\tb\\r"
    assert one_line("a\n\tb\r\u2028") == "a\\n\\tb\\r\\u2028"


def test_what_languages_are_written_with_stays():
    for text in ("क्\u200dष", "👩\u200d👩\u200d👧", "5\xa0€", "naïve 日本語"):
        assert one_line(text) == text


@given(anything)
def test_no_text_makes_a_terminal_write_more_than_it_shows(text):
    console = Console(width=500, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(one_line(text), markup=False, highlight=False, soft_wrap=True)
    assert "\x1b" not in console.file.getvalue()


def test_a_long_text_says_how_long_it_was():
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd" * 1_000, 3) == "abc … (4,000 characters)"
