"""Which edits change an agent's hash, and which do not."""

import functools
import itertools
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from quark_bench import Pipeline, agent
from quark_bench.agent_code import agent_hashes
from quark_bench.agents.quark import quark
from quark_bench.models.offline import OfflineReader
from quark_bench.user_code import find_pipeline

ROOT = Path(__file__).parents[1]
NUMBERS = itertools.count()

MAIN = """
    import functools
    import math
    from dataclasses import dataclass
    from enum import Enum

    import HELPERS
    from HELPERS import shorten
    from quark_bench import Pipeline, agent

    LIMIT = 3
    WORDS = {"a", "the"}
    OTHER = "other"

    class Tone(Enum):
        KIND = "kind"

    @dataclass
    class Style:
        loud: bool = False

        def applied(self, text):
            return accent(text) if self.loud else text

    STYLE = Style()

    def accent(text):
        return text + "!"

    def counted(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            return function(*arguments)
        return wrapper

    @counted
    def clean(text):
        return [word for word in text.split() if word not in WORDS]

    @functools.lru_cache
    def weight(word):
        return math.log(len(word) + 1)

    def load():
        return LIMIT

    @agent(setup=load)
    def first(prompt, call):
        return clean(prompt.text)[: call.ready]

    @agent
    async def second(first):
        return sorted(first, key=lambda word: weight(word) * HELPERS.factor())

    @agent
    def third(second):
        from HELPERS import late
        return STYLE.applied(" ".join(late.said(second)))

    @agent(fallback="sorry")
    def aside(prompt):
        return shorten(prompt.text), Tone.KIND

    pipeline = Pipeline("edited", [first, second, third, aside], answer="third")
"""
HELPERS = """
    from HELPERS import late

    def shorten(text):
        return text[:10]

    def factor():
        return late.FACTOR

    def unused():
        return None
"""
LATE = """
    FACTOR = 2

    def said(words):
        return [str(word) for word in words]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """`project((old, new), ...)`: the hashes of the pipeline above after these edits of its files."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    word = f"edited{next(NUMBERS)}"
    files = {f"{word}.py": MAIN, f"{word}_helpers/__init__.py": HELPERS, f"{word}_helpers/late.py": LATE}

    def made(*edits):
        texts = {name: textwrap.dedent(text).replace("HELPERS", f"{word}_helpers") for name, text in files.items()}
        for old, new in edits:
            touched = [name for name, text in texts.items() if old in text]
            assert touched, old
            texts |= {name: texts[name].replace(old, new) for name in touched}
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return agent_hashes(find_pipeline(f"{tmp_path / word}.py:pipeline")[0])

    yield made
    for name in set(sys.modules) - before:
        if name.startswith(word):
            del sys.modules[name]


ALL = {"first", "second", "third", "aside"}


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        ((": call.ready", ": call.ready + 1"), ALL - {"aside"}),
        (("sorted(first", "sorted(first[1:]"), {"second", "third"}),
        (('" ".join', '"-".join'), {"third"}),
        (("prompt.text), Tone", "prompt.text.lower()), Tone"), {"aside"}),
        # what an agent's function calls, however it is reached
        (("if word not in WORDS", "if word in WORDS"), ALL - {"aside"}),
        (("return function(*arguments)", "return function(*arguments)[1:]"), ALL - {"aside"}),
        (("len(word) + 1", "len(word) + 2"), {"second", "third"}),
        (("return text[:10]", "return text[:20]"), {"aside"}),
        (("return late.FACTOR", "return late.FACTOR + 1"), {"second", "third"}),
        (("[str(word)", "[repr(word)"), {"third"}),
        (('text + "!"', 'text + "!!"'), {"third"}),
        # constants, settings, set-up and fallback
        (("LIMIT = 3", "LIMIT = 4"), ALL - {"aside"}),
        (('{"a", "the"}', '{"a"}'), ALL - {"aside"}),
        (("FACTOR = 2", "FACTOR = 3"), {"second", "third"}),
        (("STYLE = Style()", "STYLE = Style(loud=True)"), {"third"}),
        (("return LIMIT", "return LIMIT - 1"), ALL - {"aside"}),
        (('fallback="sorry"', 'fallback="alas"'), {"aside"}),
        (('KIND = "kind"', 'KIND = "very kind"'), {"aside"}),
        # what nothing refers to
        (('OTHER = "other"', 'OTHER = "another"\n\n\n\n'), set()),
        (("def unused():", "def unused(more=1):"), set()),
        (("import math", "import json\nimport math"), set()),
    ],
)
def test_an_edit_changes_the_agents_it_reaches_and_all_that_depend_on_them(project, edit, changed):
    before, after = project(), project(edit)
    assert {name for name in ALL if before[name] != after[name]} == changed


def test_hashes_are_equal_in_every_process_whatever_it_has_done_before(project, tmp_path):
    hashes = project()
    (script,) = tmp_path.glob("*.py")
    told = (
        "import sys, json; from quark_bench.user_code import find_pipeline; from quark_bench.agents.quark import quark;"
        "from quark_bench.agent_code import agent_hashes; pipeline, _ = find_pipeline(sys.argv[1]);"
        "print(json.dumps([agent_hashes(pipeline), agent_hashes(quark())]))"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", told, f"{script}:pipeline"]
        answer = subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60).stdout
        assert json.loads(answer) == [hashes, agent_hashes(quark())]


def of(function, *, model=None, **options):
    return agent_hashes(Pipeline("one", [agent(name="one", **options)(function)], model=model))["one"]


def joined(prompt, separator):
    return separator.join(prompt.text)


@dataclass
class Joined:
    separator: str

    def __call__(self, prompt):
        return self.separator.join(prompt.text)


class Plainly:
    def __init__(self, separator):
        self.separator = separator

    def joined(self, prompt):
        return self.separator.join(prompt.text)


def closed(separator):
    def joined(prompt):
        return separator.join(prompt.text)

    return joined


@pytest.mark.parametrize(
    "made",
    [
        lambda separator: functools.partial(joined, separator=separator),
        Joined,
        lambda separator: Plainly(separator).joined,
        closed,
        lambda separator: functools.partial(closed(separator)),
    ],
)
def test_what_a_function_was_given_counts_by_value(made):
    assert of(made("-")) == of(made("-")) != of(made("+"))


def test_two_closures_that_change_places_change_the_hash():
    def pair(one, other):
        return lambda prompt: (one(prompt), other(prompt))

    assert of(pair(closed("-"), closed("+"))) != of(pair(closed("+"), closed("-")))


def test_the_model_counts_by_its_name_for_agents_that_may_ask_it():
    class Other(OfflineReader):
        name = "other"

    def asks(prompt, call): ...
    def reads(prompt): ...

    assert of(asks, model=OfflineReader()) != of(asks, model=Other())
    assert of(reads, model=OfflineReader()) == of(reads, model=Other())


def test_a_policy_changes_no_hash():
    assert of(joined_once, retries=3, timeout_s=None, cache=True) == of(joined_once)


def joined_once(prompt):
    return "-".join(prompt.text)


def ping(prompt=None):
    return pong() if prompt else None


def pong():
    return ping()


def test_code_that_refers_to_itself_comes_to_an_end():
    holder = [ping]
    holder.append(holder)
    assert of(ping) == of(ping)
    assert of(functools.partial(joined, separator=holder)) == of(functools.partial(joined, separator=holder))


def test_code_without_source_counts_by_its_bytecode():
    def typed(text):
        scope = {"__name__": "__main__"}
        exec(text, scope)
        return scope["typed"]

    def hashed(text):
        return of(typed(text))

    one = "def typed(prompt):\n return helped(prompt.text)\ndef helped(text):\n return {text for text in [text]}"
    assert hashed(one) == hashed(one)
    assert hashed(one) != hashed(one.replace("[text]", "[text, 1]"))
    assert hashed(one) != hashed(one.replace("prompt.text", "prompt.id"))


def test_an_installed_package_counts_by_its_version(monkeypatch):
    import hypothesis

    def draws(prompt):
        return hypothesis.strategies.integers()

    before = of(draws)
    monkeypatch.setattr("quark_bench.agent_code._version", lambda package: f"99 of {package}")
    assert of(draws) != before
