from quark_bench import Pipeline, agent
from quark_bench.forecast import forecast
from quark_bench.plan import chosen_arms, make_plan


@agent
def one(prompt):
    return prompt.text


@agent
def two(one):
    return one


PIPELINE = Pipeline("two", [one, two])


def earlier(run_id, rate, **pipeline):
    told = {"name": "two", "model": None, "latency_profile": None} | pipeline
    measures = {"throughput_per_s": rate, "tokens_in": 300.0, "tokens_out": 100.0, "cost_usd": 2.0}
    return {
        "run_id": run_id,
        "pipeline": told,
        "repeats": 2,
        "dataset": {"prompts": 50},
        "arms": [{"name": "async", "strategy": "parallel", "in_flight": 8}],
        "measures": {"async": {name: {"value": value} for name, value in measures.items()}},
    }


def test_an_arm_goes_by_the_newest_run_in_which_it_ran_as_it_would_now():
    plan = make_plan(chosen_arms(["sync", "async"], 8, None, None), 1_000, repeats=3)
    runs = [earlier("other-model", 1.0, model="m"), earlier("newest", 20.0), earlier("oldest", 5.0)]
    sync, both = forecast(plan, PIPELINE, runs)
    assert (sync.trials, sync.calls, sync.took_s, sync.seen_in) == (3_000, 6_000, None, None)
    assert (both.took_s, both.tokens, both.cost_usd, both.seen_in) == (150.0, 12_000.0, 60.0, "newest")


def test_an_open_load_takes_as_long_as_its_schedule():
    plan = make_plan(chosen_arms(None, None, "10..30", None), 100)
    (found,) = forecast(plan, PIPELINE, [])
    assert (found.took_s, found.tokens) == (5.0, None)
