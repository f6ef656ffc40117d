import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench import conversations
from quark_bench.conversations import (
    HALF_LIFE_S,
    LATEST,
    LONGEST_TEXT,
    MOST_VERDICTS,
    Candidate,
    Conversations,
    Lesson,
    match_expression,
    open_conversations,
    ranked,
)
from quark_bench.errors import DataError, UsageError

NOW_S = 1_000_000.0


@pytest.fixture
def store(tmp_path):
    with closing(Conversations(tmp_path / "memory.db")) as made:
        yield made


def lesson(stems="comet glow", bore="k-1", idle="k-2"):
    return Lesson(frozenset(stems.split()), frozenset(bore.split()), frozenset(idle.split()))


def prompts(turns):
    return [turn.prompt for turn in turns]


def is_whole(store):
    """Raises where an index of words does not hold what its table holds."""
    with store._file.writing() as connection:
        for words in ("turn_words", "lesson_words"):
            connection.execute(f"INSERT INTO {words} ({words}) VALUES ('integrity-check')")
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- turns


def test_a_turn_is_found_by_its_words_in_a_later_session(store):
    store.add("ann", "Which comet was seen?", "Halley's.", NOW_S - 2)
    for n in range(LATEST):
        store.add("ann", f"What is {n} plus {n}?", str(n + n), NOW_S - 1)
    store.close()
    with closing(Conversations(store.path)) as again:
        (found, *others) = again.search("ann", "Do comets glow?", 2, NOW_S)
        assert (found.conversation, found.prompt, found.answer, found.at_s) == (
            "ann",
            "Which comet was seen?",
            "Halley's.",
            NOW_S - 2,
        )
        assert prompts(others) == ["What is 2 plus 2?"]


def test_what_was_said_last_is_recalled_though_no_word_is_shared(store):
    for n in range(10):
        store.add("ann", f"Tell me of number {n}", f"It is {n}.", NOW_S - 10 + n)
    assert prompts(store.search("ann", "and what about that?", 2, NOW_S)) == [
        "Tell me of number 9",
        "Tell me of number 8",
    ]
    assert len(store.search("ann", "and what about that?", 10, NOW_S)) == LATEST


def test_the_best_match_is_first_however_old_it_is(store):
    store.add("ann", "Which comet was seen?", "Halley's.", NOW_S - 400 * HALF_LIFE_S)
    store.add("ann", "Hello", "Hello!", NOW_S)
    assert prompts(store.search("ann", "comet", 3, NOW_S)) == ["Which comet was seen?", "Hello"]


def test_of_matches_alike_the_one_of_a_day_ago_has_lost_half_its_recency():
    old, new = Candidate(1, NOW_S - HALF_LIFE_S, 1.0), Candidate(2, NOW_S, 0.49)
    assert ranked([old, new], NOW_S) == [1, 2]
    assert ranked([old, new._replace(relevance=0.51)], NOW_S) == [2, 1]


def test_a_clock_that_was_ahead_makes_no_turn_more_recent_than_now(store):
    store.add("ann", "The comet, later", "Yes.", NOW_S + 1e9)
    store.add("ann", "The comet", "Yes.", NOW_S)
    assert len(store.search("ann", "comet", 3, NOW_S)) == 2


def test_an_equal_id_is_kept_once_in_a_conversation_and_is_another_s_in_another(store):
    assert store.add("ann", "first", "1", NOW_S, turn_id="t") == "t"
    version = store.version
    assert store.add("ann", "again", "2", NOW_S, turn_id="t") == "t"
    assert store.version == version
    store.add("bob", "his", "3", NOW_S, turn_id="t")
    assert prompts(store.history("ann", 9)) == ["first"]
    assert prompts(store.history("bob", 9)) == ["his"]


def test_a_history_has_the_newest_last_and_at_most_as_many_as_were_asked_for(store):
    for n in (3, 1, 2, 0):
        store.add("ann", f"p{n}", "a", NOW_S + n)
    assert prompts(store.history("ann", 3)) == ["p1", "p2", "p3"]
    assert store.history("ann", 0) == store.history("ann", -1) == store.history("bob", 3) == []


def test_of_too_many_turns_the_first_to_come_are_dropped_with_their_words(tmp_path):
    with closing(Conversations(tmp_path / "memory.db", most_turns=5)) as store:
        for n in range(12):
            store.add(f"user {n % 2}", f"comet number {n}", "It glows.", NOW_S + n)
        kept = [*store.history("user 0", 99), *store.history("user 1", 99)]
        assert sorted(prompts(kept)) == sorted(f"comet number {n}" for n in range(7, 12))
        assert prompts(store.search("user 1", "comet", 99, NOW_S)) == [f"comet number {n}" for n in (11, 9, 7)]
        assert is_whole(store)


def test_very_long_texts_are_cut_and_broken_ones_mended(store):
    store.add("ann", "comet " * LONGEST_TEXT, "half \ud83d", NOW_S)
    (turn,) = store.history("ann", 1)
    assert len(turn.prompt) == LONGEST_TEXT
    assert turn.answer == "half ?"
    assert store.search("ann", "half \ud83d comet", 1, NOW_S) == [turn]


def test_a_name_that_cannot_be_kept_is_refused_rather_than_mixed_up_with_another(store):
    with pytest.raises(UsageError, match="holds half a character"):
        store.add("ann\ud83d", "p", "a", NOW_S)


SAID = (
    st.sampled_from(["comet", "comets glow", "the comet", "kites fly", "and that?", 'NEAR("', "* OR", ""]) | st.text()
)
TURNS = st.lists(st.tuples(st.sampled_from(["ann", "bob", "ann ", "%"]), SAID, SAID, st.integers(0, 9)), max_size=20)


@settings(max_examples=60)
@given(said=TURNS, asked=SAID, limit=st.integers(-1, 6), now_s=st.integers(-1, 12))
def test_a_search_stays_in_its_conversation_within_its_limit_and_prefers_the_newer(said, asked, limit, now_s):
    with tempfile.TemporaryDirectory() as folder, closing(Conversations(Path(folder) / "memory.db")) as store:
        for n, (conversation, prompt, answer, at) in enumerate(said):
            store.add(conversation, prompt, answer, at * HALF_LIFE_S / 5, turn_id=str(n))
        found = store.search("ann", asked, limit, now_s * HALF_LIFE_S / 5)
        assert len(found) <= max(0, limit)
        assert len({turn.id for turn in found}) == len(found)
        for turn in found:
            assert turn in store.history("ann", len(said))
            assert said[int(turn.id)][0] == turn.conversation == "ann"
        newest_first = {
            text: sorted(
                (turn for turn in store.history("ann", len(said)) if (turn.prompt, turn.answer) == text),
                key=lambda turn: (turn.at_s, int(turn.id)),
                reverse=True,
            )
            for text in {(turn.prompt, turn.answer) for turn in found}
        }
        for text, turns in newest_first.items():
            recalled = [turn for turn in found if (turn.prompt, turn.answer) == text]
            assert recalled == turns[: len(recalled)]


@given(st.text())
def test_an_expression_is_quoted_words_and_nothing_else(text):
    for part in match_expression(text).split(" OR ") if match_expression(text) else []:
        assert part[0] == part[-1] == '"'
        assert '"' not in part[1:-1]


# -- lessons


def test_a_lesson_is_found_by_the_stems_of_a_prompt_like_its_own(store):
    store.learn(lesson("comet glow"))
    store.learn(lesson("kite fly"))
    assert store.lessons({"comet", "see"}) == [lesson("comet glow")]
    assert store.lessons({"moon"}) == store.lessons(set()) == []


def test_a_later_lesson_of_the_same_stems_overrules_and_the_rest_stays_known(store):
    store.learn(lesson(bore="k-1", idle="k-2 k-3"))
    store.learn(lesson(bore="k-2", idle="k-1"))
    assert store.lessons({"comet"}) == [lesson(bore="k-2", idle="k-1 k-3")]


def test_the_same_lesson_again_and_an_empty_one_write_nothing(store):
    store.learn(lesson())
    version = store.version
    for again in (lesson(), lesson(idle=""), lesson(bore="", idle=""), lesson(stems="")):
        store.learn(again)
    assert store.version == version
    assert store.lessons({"comet"}) == [lesson()]


def test_of_too_many_lessons_the_first_to_come_are_dropped_whatever_changed(store, monkeypatch):
    monkeypatch.setattr(conversations, "MOST_LESSONS", 3)
    for stem in ("one", "two", "three", "three", "two", "four"):
        store.learn(lesson(stem, bore=f"k-{store.version}"))
    kept = store.lessons({"one", "two", "three", "four"})
    assert {stem for each in kept for stem in each.stems} == {"two", "three", "four"}
    assert is_whole(store)


def test_a_lesson_speaks_of_the_passages_that_were_met_last(store):
    for n in range(MOST_VERDICTS + 10):
        store.learn(lesson(bore=f"k-{n}", idle=""))
    (known,) = store.lessons({"comet"})
    assert known.bore == {f"k-{n}" for n in range(10, MOST_VERDICTS + 10)}


def test_stems_with_operators_are_words_like_any_other(store):
    store.learn(lesson('"comet" NEAR( * OR'))
    assert len(store.lessons({'"comet"', "NEAR(", "*"})) == 1


# -- versions


def test_each_version_follows_what_it_is_of_whoever_writes(store):
    with closing(Conversations(store.path)) as other:
        turns, lessons, both = store.turns_version, store.lessons_version, store.version
        other.add("ann", "p", "a", NOW_S)
        assert store.turns_version != turns
        assert store.lessons_version == lessons
        assert store.version != both
        turns, both = store.turns_version, store.version
        other.learn(lesson())
        assert store.turns_version == turns
        assert store.lessons_version != lessons
        assert store.version != both


def test_versions_go_on_in_the_next_session_and_two_files_share_none(tmp_path):
    seen = set()
    for name in ("one", "two"):
        with closing(Conversations(tmp_path / name)) as store:
            store.add("ann", "p", "a", NOW_S)
            before = (store.turns_version, store.lessons_version)
        with closing(Conversations(tmp_path / name)) as again:
            assert (again.turns_version, again.lessons_version) == before
        seen.update(before)
    assert len(seen) == 4


# -- one store for a process


def test_all_who_use_a_file_in_a_process_share_one_store_and_the_last_one_closes_it(store):
    one, two = open_conversations(store.path), open_conversations(str(store.path))
    assert one is two is not store
    file = one._file
    del one, two
    assert open_conversations(store.path)._file is not file


def test_a_file_that_is_not_on_this_machine_is_not_begun_by_who_only_uses_it(tmp_path):
    with pytest.raises(DataError, match="run the agents where the store of conversations is"):
        open_conversations(tmp_path / "memory.db")
    assert list(tmp_path.iterdir()) == []


# -- many at once

WRITER = """
import sys
from quark_bench.conversations import Conversations, Lesson
store, name = Conversations(sys.argv[1]), sys.argv[2]
print("open", flush=True)
for n in range(int(sys.argv[3])):
    store.add("both", f"comet {n} of {name}", "It glows.", float(n), turn_id=f"{name}-{n}")
    store.add("both", f"comet {n}", "It glows.", float(n), turn_id=f"shared-{n}")
    store.learn(Lesson(frozenset({"comet", f"{n}"}), frozenset({name}), frozenset()))
    print(n, flush=True)
"""


def writer(path, name, turns):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(turns)], stdout=subprocess.PIPE, text=True
    )


def test_processes_that_write_at_once_lose_nothing_and_double_nothing(tmp_path):
    path, turns = tmp_path / "memory.db", 100
    processes = [writer(path, name, turns) for name in ("left", "right", "third")]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with closing(Conversations(path)) as store:
        ids = Counter(turn.id for turn in store.history("both", 10_000))
        expected = {f"{name}-{n}" for name in ("left", "right", "third", "shared") for n in range(turns)}
        assert ids == dict.fromkeys(expected, 1)
        for n in range(turns):
            known = next(each for each in store.lessons({"comet", str(n)}) if str(n) in each.stems)
            assert known.bore == {"left", "right", "third"}
        assert is_whole(store)


def test_a_process_killed_while_it_writes_leaves_a_store_with_all_that_was_told(tmp_path):
    path = tmp_path / "memory.db"
    told = 0
    for round_ in range(4):
        process = writer(path, f"w{round_}", 100_000)
        for _ in range(20 + 7 * round_):
            line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = [each for each in process.communicate(timeout=30)[0].splitlines() if each.isdigit()]
        told = max(told, *map(int, [line.strip(), *rest]))
        with closing(Conversations(path)) as store:
            ids = Counter(turn.id for turn in store.history("both", 1_000_000))
            assert set(ids.values()) == {1}
            assert {f"shared-{n}" for n in range(told + 1)} <= set(ids)
            assert is_whole(store)


def test_threads_that_write_and_read_at_once_meet_whole_turns_alone(store):
    def use(thread):
        for n in range(20):
            store.add(f"user {thread}", f"comet {n}", f"answer {n}", float(n))
            store.learn(lesson(f"comet s{n}", bore=f"k-{thread}"))
            for turn in store.search(f"user {thread}", "comet", 3, float(n)):
                assert turn.conversation == f"user {thread}"
                assert turn.answer == turn.prompt.replace("comet", "answer")
        return prompts(store.history(f"user {thread}", 99))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == [[f"comet {n}" for n in range(20)]] * 8
    assert is_whole(store)


def test_a_forked_child_has_a_connection_of_its_own(store):
    parent = open_conversations(store.path)
    reader, writer_ = os.pipe()
    child = os.fork()
    if child == 0:
        own = open_conversations(store.path)
        own.add("ann", "from the child", "a", NOW_S)
        os.write(writer_, json.dumps([own is parent, prompts(own.history("ann", 9))]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(reader, 1000)) == [False, ["from the child"]]
    assert prompts(parent.history("ann", 9)) == ["from the child"]
    assert is_whole(store)
