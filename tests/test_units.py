import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import units
from quark_bench.units import BYTES, COUNT, DOLLARS, PER_SECOND, RATIO, SCORE, SECONDS, SHARE, TOKENS, Unit, significant

ALL = [each for each in vars(units).values() if isinstance(each, Unit)]


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (SECONDS, 0, "0 s"),
        (SECONDS, 0.0000123, "12.3 µs"),
        (SECONDS, 0.152, "152 ms"),
        (SECONDS, 1.9, "1.90 s"),
        (SECONDS, 600, "10.0 min"),
        (SECONDS, 9_000, "2.50 h"),
        (SECONDS, -0.02, "-20.0 ms"),
        (SHARE, 0.256, "25.6 %"),
        (RATIO, 3.5, "3.50x"),
        (PER_SECOND, 27_000, "27,000 req/s"),
        (BYTES, 116_000_000, "116 MB"),
        (BYTES, 2.5e15, "2,500 TB"),
        (COUNT, 1_319, "1,319"),
        (COUNT, 2.5, "2.50"),
        (TOKENS, 1_200, "1,200 tokens"),
        (DOLLARS, 0.0123, "$0.0123"),
        (DOLLARS, 12.3, "$12.30"),
        (SCORE, 2 / 3, "0.667"),
    ],
)
def test_a_number_is_written_with_its_unit(unit, value, text) -> None:
    assert unit.format(value) == text


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (SECONDS, 0.9996, "1.00 s"),
        (SECONDS, 0.0009999, "1.00 ms"),
        (SECONDS, 119.96, "2.00 min"),
        (BYTES, 999.9, "1.00 kB"),
        (RATIO, 9.999, "10.0x"),
    ],
)
def test_a_number_that_rounds_up_takes_the_next_unit(unit, value, text) -> None:
    assert unit.format(value) == text


@pytest.mark.parametrize("unit", ALL)
def test_no_unit_writes_a_missing_or_infinite_number_as_a_number(unit) -> None:
    assert unit.format(None) == unit.format(math.nan) == "n/a"
    assert (unit.format(math.inf), unit.format(-math.inf)) == ("inf", "-inf")


def test_an_interval_needs_both_bounds() -> None:
    assert SECONDS.format_interval(1, 2) == "1.00 s to 2.00 s"
    assert SECONDS.format_interval(None, 2) == SECONDS.format_interval(1, math.nan) == "n/a"


@given(st.floats(min_value=1e-9, max_value=1e15), st.booleans())
def test_a_written_number_is_within_its_rounding_of_the_number(size, negative) -> None:
    value = -size if negative else size
    assert float(significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@given(st.floats(min_value=1e-9, max_value=999))
def test_three_digits_are_three_digits(value) -> None:
    shown = significant(value).replace(".", "").lstrip("0")
    assert len(shown) == 3 or float(significant(value).replace(",", "")) == 1_000


@pytest.mark.parametrize("unit", ALL)
@given(value=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_every_unit_writes_every_finite_number_without_an_exponent(unit, value) -> None:
    assert not any(exponent in unit.format(value) for exponent in ("e+", "e-"))
