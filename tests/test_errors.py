import inspect

import pytest

from quark_bench import errors
from quark_bench.errors import ConservationError, DataError, ExecutionError, QuarkBenchError, UsageError, describe

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, QuarkBenchError)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_stands_in_the_tree_at_the_top_with_its_exit_code(error) -> None:
    line = next(line for line in errors.__doc__.splitlines() if error.__name__ in line.split())
    assert error is QuarkBenchError or line.endswith(f"exit {error.exit_code}")


def test_wrong_usage_exits_with_2_and_a_run_that_cannot_finish_with_4() -> None:
    assert (UsageError.exit_code, DataError.exit_code) == (2, 2)
    assert (ExecutionError.exit_code, ConservationError.exit_code) == (4, 4)


def test_an_error_is_described_by_type_and_message() -> None:
    assert describe(ValueError("no such key")) == "ValueError: no such key"


def test_an_error_without_a_message_is_described_by_its_type() -> None:
    assert describe(TimeoutError()) == "TimeoutError"


def test_a_description_is_cut_at_its_limit() -> None:
    assert describe(ValueError("x" * 5_000), limit=20) == "ValueError: xxxxxxxx"


def test_an_error_whose_message_cannot_be_made_is_described_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError("broken")

    assert describe(BrokenError()) == "BrokenError: (its message could not be made)"
