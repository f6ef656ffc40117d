"""NLU: what kind of answer a prompt asks for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.agents.rows import text_rows
from quark_bench.dataset import Prompt
from quark_bench.sources.packed import packed_file

_OPENING = re.compile(r"(^|[.?!:,;]\s+)(?=\w)")
_WORD = r"\^?\w+"


@dataclass(frozen=True, slots=True)
class IntentClassifier:
    """TF-IDF of words and of letter triples, then multinomial logistic regression.

    `parts` are pairs of a fitted vectorizer and its weights (features x categories).
    """

    categories: tuple[str, ...]
    parts: tuple[tuple[Any, Any], ...]
    intercepts: Any

    def predict(self, text: str) -> tuple[str, float]:
        """The most probable category and its probability."""
        # Written out, because predict_proba over a FeatureUnion spends most of its time on checks.
        products = (vectorizer.transform([text]) @ weights for vectorizer, weights in self.parts)
        scores = (sum(products) + self.intercepts)[0].tolist()
        best = max(scores)
        return self.categories[scores.index(best)], 1 / sum(math.exp(score - best) for score in scores)


def intents() -> frozenset[str]:
    """The categories that the intents of quark-bench teach."""
    return frozenset(row["category"] for row in text_rows(packed_file("intents.jsonl"), ("category",)))


def train_classifier(path: Path | None = None) -> IntentClassifier:
    """Learn three or more categories from rows of `text, category`; None reads the intents of quark-bench.

    Raises DataError for a row that is wrong.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = text_rows(path or packed_file("intents.jsonl"), ("text", "category"))
    texts, categories = [row["text"] for row in rows], [row["category"] for row in rows]
    words = TfidfVectorizer(preprocessor=mark_openings, token_pattern=_WORD, ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(preprocessor=mark_openings, analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True)
    features = hstack([words.fit_transform(texts), letters.fit_transform(texts)], format="csr")
    regression = LogisticRegression(C=10.0, max_iter=200, random_state=0).fit(features, categories)
    weights = regression.coef_.T
    border = len(words.vocabulary_)
    parts = ((words, weights[:border]), (letters, weights[border:]))
    return IntentClassifier(tuple(regression.classes_.tolist()), parts, regression.intercept_)


def mark_openings(text: str) -> str:
    """Lower case, with a mark before the word that opens a clause: `Is it ...` asks, `it is ...` tells."""
    return _OPENING.sub(r"\1^", text.lower())


@dataclass(frozen=True, slots=True)
class Nlu:
    """`{"category": text, "confidence": share}` of a prompt."""

    median_s: float = 0.0

    async def __call__(self, prompt: Prompt, call: Call) -> dict[str, Any]:
        await simulate(self.median_s, call)
        category, confidence = call.ready.predict(prompt.text)
        return {"category": category, "confidence": confidence}
