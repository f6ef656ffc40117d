import pytest

from quark_bench.errors import DataError, UsageError
from quark_bench.models.prices import Price, price_of

SMALL = '["small-4.1"]\nusd_per_million_in = 0.5\nusd_per_million_out = 2\n'


def test_a_price_is_dollars_per_million_tokens(tmp_path):
    (tmp_path / "usd.toml").write_text(SMALL)
    price = price_of("small-4.1", tmp_path / "usd.toml")
    assert price == Price(0.5, 2.0)
    assert price.cost_usd(1_000_000, 500_000) == 1.5


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("[small", DataError, "is no TOML"),
        (SMALL, UsageError, "no table for 'small-4'; did you mean 'small-4.1'?"),
        ("small-4 = 3", DataError, r"\[small-4\]: give usd_per_million_in and usd_per_million_out"),
        ("[small-4]\nusd_per_million_in = 1", DataError, "give usd_per_million_in and usd_per_million_out"),
        ("[small-4]\nusd_per_million_in = 1\nusd_per_million_out = -1", DataError, "usd_per_million_out is -1"),
        ("[small-4]\nusd_per_million_in = true\nusd_per_million_out = 1", DataError, "usd_per_million_in is True"),
        ("[small-4]\nusd_per_million_in = inf\nusd_per_million_out = 1", DataError, "usd_per_million_in is inf"),
    ],
)
def test_what_is_no_price_is_named_with_its_file(tmp_path, text, error, told):
    file = tmp_path / "usd.toml"
    file.write_text(text)
    with pytest.raises(error, match=told) as caught:
        price_of("small-4", file)
    assert "usd.toml" in str(caught.value)
