"""One record as scorers judge it."""

from quark_bench.dataset import Prompt
from quark_bench.scoring import Answered, score_records, scorers_named


def asked(*reference):
    return Prompt("p", "?", reference=reference)


def scored(specs, answer="red cat", reference="red cat", prompt=None, **trial):
    """The value that each scorer gives one record, by its name."""
    given, prompt = Answered("sync", 0, "p", answer, **trial), prompt or asked(reference)
    return {row.scorer: row.value for row in score_records([given], {"p": prompt}, scorers_named(specs), float)}
