"""JSON: the answer is JSON, and what a schema asks for."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.scoring.overlap import missing
from quark_bench.scoring.score import NO_ANSWER, Answered, Score

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(?P<inside>.*?)\n?```\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JsonScorer:
    """1 where the answer is JSON that the validator, if any, finds nothing wrong with. A fence of ``` may be around."""

    validator: Any = None
    version: str = "1"
    name: str = "json"

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        if given.answer is None:
            return NO_ANSWER
        fenced = _FENCE.fullmatch(given.answer)
        try:
            value = json.loads(fenced["inside"] if fenced else given.answer, parse_constant=_refused)
        except (ValueError, RecursionError) as error:
            return Score(0.0, f"is no JSON: {error}")
        wrong = None if self.validator is None else next(self.validator.iter_errors(value), None)
        if wrong is None:
            return Score(1.0, "is JSON" if self.validator is None else "is what the schema asks for")
        return Score(0.0, f"at {wrong.json_path}: {wrong.message[:200]}")


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def json_answer(schema: str | None = None) -> JsonScorer:
    """The scorer by the JSON Schema in that file; without one any JSON will do. What the schema refers to has to stand
    in it: nothing is fetched. Raises UsageError for no such file, no such schema, or no jsonschema.
    """
    if schema is None:
        return JsonScorer()
    try:
        import jsonschema
        import referencing
    except ImportError:
        raise missing("json", "jsonschema") from None
    try:
        text = Path(schema).read_text("utf-8")
        asked = json.loads(text)
        kind = jsonschema.validators.validator_for(asked, jsonschema.Draft202012Validator)
        kind.check_schema(asked)
    except OSError as error:
        raise UsageError(f"--score json: {schema} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--score json: {schema} is no JSON: {error}") from None
    except jsonschema.SchemaError as error:
        raise UsageError(f"--score json: {schema} is no JSON Schema: at {error.json_path}: {error.message}") from None
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return JsonScorer(kind(asked, registry=referencing.Registry()), f"1 schema={digest}")
