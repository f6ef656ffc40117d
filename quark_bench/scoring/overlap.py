"""ROUGE, BLEU and chrF: how much of the reference's wording an answer has, as the field's own libraries count it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.scoring.score import NO_ANSWER, Answered, ReferenceScorer, Score

ROUGE = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL"}
"""What rouge-score calls them."""


def rouge(name: str) -> ReferenceScorer:
    """ROUGE-1, -2 or -L: the F-measure of shared words, pairs of words, or the longest common subsequence, without
    stemming; of several references the best counts. Lin 2004, https://aclanthology.org/W04-1013.

    Raises UsageError where rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise missing(name, "rouge-score") from None
    kind = ROUGE[name]
    scorer = RougeScorer([kind])

    def judge(answer: str, reference: str) -> Score | None:
        if not reference.strip():
            return None
        found = scorer.score(reference, answer)[kind]
        return Score(float(found.fmeasure), f"precision {found.precision:.2f}, recall {found.recall:.2f}")

    return ReferenceScorer(name, "1", judge)


@dataclass(frozen=True, slots=True)
class Sacre:
    """A metric of sacrebleu over one answer and all its references, as a share of 100."""

    name: str
    metric: Any
    version: str = "1"

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        references = [reference for reference in prompt.reference if reference.strip()]
        if not references:
            return None
        if given.answer is None:
            return NO_ANSWER
        value = min(100.0, self.metric.sentence_score(given.answer, references).score)  # 100.00000000000004 is met
        return Score(value / 100, f"{value:.1f} of 100")


def bleu() -> Sacre:
    """BLEU of one sentence, n-grams longer than it left out: Papineni et al. 2002, https://aclanthology.org/P02-1040,
    as sacrebleu counts it. The mean over answers is not the BLEU of a corpus. Raises UsageError without sacrebleu.
    """
    return Sacre("bleu", _sacrebleu("bleu").BLEU(effective_order=True))


def chrf() -> Sacre:
    """chrF, the F-score (beta 2) of shared character n-grams up to 6: Popovic 2015, https://aclanthology.org/W15-3049,
    as sacrebleu counts it. Raises UsageError without sacrebleu."""
    return Sacre("chrf", _sacrebleu("chrf").CHRF())


def _sacrebleu(name: str) -> Any:
    try:
        from sacrebleu import metrics
    except ImportError:
        raise missing(name, "sacrebleu") from None
    return metrics


def missing(name: str, library: str) -> UsageError:
    """What to say where the library of a scorer is not there."""
    return UsageError(f"--score {name} needs {library}; install it: pip install 'quark-bench[scores]'")
