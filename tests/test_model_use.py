import pytest

from quark_bench import Dataset, Prompt, bench
from quark_bench.agent import Call
from quark_bench.errors import BudgetSpentError, ReplayMissingError, UsageError
from quark_bench.model import question_hash
from quark_bench.model_use import Budget, Limits, ModelUse, parse_budget
from quark_bench.models.replay import Replay

from .pipelines.parrot import Parrot, asking

PROMPTS = Dataset([Prompt(f"p-{n}", f"word{n}") for n in range(12)], "prompts")


def measured(tmp_path, model=None, **options):
    options = {"arms": ["async"], "on": "inline", "warmup": 0, "out": tmp_path, **options}
    return bench(PROMPTS, asking(model or Parrot()), **options)


def test_a_recorded_run_answers_again_what_it_was_asked(tmp_path):
    run = measured(tmp_path, use=ModelUse(record=True))
    assert list(run.calls["agent"].value_counts()) == [12, 12]
    replay = Replay.of("last", tmp_path)
    again = measured(tmp_path, model=replay, repeats=2)
    assert replay.name == f"replay:{run.path.name}"
    assert again.findings.titled("Latency") == "Latency, replayed"
    assert Replay.of(run.path.name, tmp_path, 10).name == f"replay:{run.path.name} at 10x its speed"
    assert again.manifest["pipeline"]["model"] == replay.name
    answers = run.records.set_index("prompt_id")["answer"]
    assert all(answers[row.prompt_id] == row.answer for row in again.records.itertuples())
    assert (again.calls["reply"].isna()).all()
    assert again.records["cost_usd"].sum() == 2 * run.records["cost_usd"].sum()


def test_what_was_not_recorded_is_told_by_prompt_and_agent(tmp_path):
    measured(tmp_path, use=ModelUse(record=True))
    replay = Replay.of("last", tmp_path)
    call = Call("Opinion", "p-3", 0, 1, 1, None, None, "run", None, blocking=True)
    assert replay.reply_blocking([{"role": "user", "content": "word3"}], call).text == "3drow"
    with pytest.raises(ReplayMissingError, match=r"prompt 'p-3': agent 'Opinion' asks something else"):
        replay.reply_blocking([{"role": "user", "content": "other"}], call)
    call.prompt_id = "p-99"
    with pytest.raises(ReplayMissingError, match=r"prompt 'p-99': agent 'Opinion' was not recorded"):
        replay.reply_blocking([{"role": "user", "content": "word3"}], call)


def test_a_run_that_was_not_recorded_cannot_be_replayed(tmp_path):
    measured(tmp_path)
    with pytest.raises(UsageError, match="--record"):
        Replay.of("last", tmp_path)


def test_equal_questions_of_one_attempt_get_their_answers_in_turn(tmp_path):
    recorded = {"agent": "a", "prompt_id": "p", "arm": "x", "repeat": 0, "attempt": 1, "status": "ok", "error": None}
    given = {"sent_s": 0.0, "end_s": 0.0, "first_token_s": 0.2, "inter_token_s": None, "tokens_in": 1, "tokens_out": 1}
    told = {"estimated": False, "cost_usd": 0.0, "finish_reason": None, "asked": question_hash([])}
    from quark_bench.models.replay import by_place

    rows = [recorded | given | told | {"number": n, "reply": text} for n, text in enumerate(("one", "two"), 1)]
    replay = Replay("run", by_place(rows, ["x"]), speed=2.0)
    call = Call("a", "p", 0, 1, 1, None, None, "run", None, blocking=True)
    texts = []
    for _ in range(3):
        call.usage.questions += (question_hash([]),)
        texts.append(replay.reply_blocking([], call))
    assert [reply.text for reply in texts] == ["one", "two", "two"]
    assert texts[0].first_token_s == 0.1


def test_a_budget_ends_a_run_that_a_larger_one_continues(tmp_path):
    with pytest.raises(
        BudgetSpentError, match=r"the budget of 4.00 USD is spent: .* USD for \d+ of 12 trials.*--resume"
    ):
        measured(tmp_path, in_flight=1, use=ModelUse(budget=parse_budget("4usd")))
    (path,) = tmp_path.iterdir()
    with pytest.raises(BudgetSpentError, match=r"go on with a larger one: .* --budget MORE"):
        measured(tmp_path, in_flight=1, use=ModelUse(budget=parse_budget("4usd")), resume=path)
    ended = measured(tmp_path, in_flight=1, use=ModelUse(budget=parse_budget("100usd")), resume=path)
    assert (ended.manifest["state"], ended.manifest["session"]) == ("complete", 1)
    assert len(ended.records) == 12
    assert ended.manifest["budget"] == "100usd"


@pytest.mark.parametrize(("text", "budget"), [("5usd", Budget(5, "usd")), ("200_000 tokens", Budget(2e5, "tokens"))])
def test_a_budget_is_an_amount_and_its_unit(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["5", "usd", "-3usd", "0usd", "5eur"])
def test_another_budget_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="as in 5usd or 200000tokens"):
        parse_budget(text)


def test_a_limit_holds_over_all_processes_of_a_cluster_and_is_told(tmp_path, cluster):
    folder = tmp_path / "calls"
    folder.mkdir()
    run = measured(
        tmp_path / "reports",
        model=Parrot(str(folder), 0.03),
        on=cluster,
        in_flight=8,
        use=ModelUse(Limits(calls=3)),
        warmup=4,
    )
    assert len(run.calls["worker"].unique()) > 1
    assert run.records["status"].eq("ok").all()
    answers = run.records["answer"].astype(int)
    assert 1 < answers.max() <= 3
    (told,) = [each for each in run.manifest["rations"] if each["model"] == "parrot"][-1:]
    assert (told["limits"]["calls"], told["granted"] >= 24, told["refused"]) == (3, True, 0)
