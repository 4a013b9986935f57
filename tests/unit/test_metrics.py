"""Laws of the service's metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from serve_app.observe.metrics import MOST_LABELS, OTHER, SUMS, Metrics
from sprint.types import ExecutionOutcome, Rollout
from sprint.usage import Usage
from tests.unit.rollouts import all_kinds, failed, in_rounds, sequential
from tests.unit.scraped import STATS, after, families_of, samples, value


@pytest.fixture(scope="module")
def rollouts() -> Sequence[Rollout]:
    return all_kinds()


# --- counting --------------------------------------------------------------------------------------------------------


def test_what_is_shown_is_the_sum_of_the_usages(rollouts: Sequence[Rollout]) -> None:
    found = samples(after(rollouts))
    for field in SUMS:
        name = re.sub("_s$", "_seconds", field.removeprefix("num_"))
        expected = sum(max(0, getattr(rollout.usage, field)) for rollout in rollouts)
        assert value(found, f"{name}_total") == pytest.approx(expected), field
    usages = [rollout.usage for rollout in rollouts]
    assert value(found, "prompt_tokens_total") == sum(usage.prompt_tokens for usage in usages)
    assert value(found, "cached_prompt_tokens_total") == sum(usage.cached_prompt_tokens or 0 for usage in usages)
    assert value(found, "rollout_seconds_sum") == pytest.approx(sum(usage.wall_s for usage in usages))
    assert value(found, "calls_total") == sum(usage.num_calls for usage in usages)


def test_requests_are_counted_by_how_they_ended(rollouts: Sequence[Rollout]) -> None:
    found = samples(after(rollouts))
    assert value(found, "requests_total", endpoint="chat", outcome="answered") == 4
    assert value(found, "requests_total", endpoint="chat", outcome="failed") == 1
    for outcome in ("400", "refused", "disconnected"):
        assert value(found, "requests_total", endpoint="completions", outcome=outcome) == 1
    assert value(found, "requests_refused_total", reason="queue_full") == 1
    assert value(found, "requests_disconnected_total") == 1
    assert value(found, "requests_in_flight", endpoint="chat") == 0
    assert value(found, "requests_in_flight", endpoint="completions") == 1, "one has not ended"
    assert value(found, "requests_queued") == 0
    assert value(found, "queue_seconds_count") == len(rollouts)


def test_rounds_widths_and_speed_ups_are_those_of_rollouts_in_rounds(rollouts: Sequence[Rollout]) -> None:
    found = samples(after(rollouts))
    in_their_rounds = [rollout for rollout in rollouts if rollout.trajectory is not None]
    assert value(found, "rollouts_total", mode="rounds") == len(in_their_rounds) == 4
    assert value(found, "rollouts_total", mode="sequential") == 1
    assert value(found, "rounds_sum") == sum(rollout.usage.num_rounds for rollout in in_their_rounds)
    assert value(found, "round_width_count") == value(found, "rounds_sum")
    assert value(found, "round_width_sum") == value(found, "executions_total")
    assert value(found, "executions_total", outcome="failed") == 1
    assert value(found, "parallel_speedup_ratio_bucket", le="1.0") == 0, "every one of them gained something"
    assert value(found, "parallel_speedup_ratio_count") == len(in_their_rounds)


def test_a_failed_rollout_is_counted_by_its_cause_and_still_costs_its_tokens() -> None:
    metrics = Metrics()
    metrics.started("chat")
    rollout = failed()
    metrics.finished(rollout, "chat")
    found = samples(metrics)
    assert value(found, "rollout_failures_total", failure="unavailable") == value(found, "rollout_failures_total") == 1
    assert value(found, "generated_tokens_total") == rollout.usage.generated_tokens > 0
    assert value(found, "calls_total", kind="plan", outcome="failed") == 1


def test_an_unknown_cache_is_neither_a_hit_nor_a_miss() -> None:
    metrics = Metrics()
    for cached in (30, None):
        metrics.observed(replace(sequential(), usage=Usage(prompt_tokens=40, cached_prompt_tokens=cached)))
    found = samples(metrics)
    assert value(found, "cached_prompt_tokens_total") == 30
    assert value(found, "prompt_tokens_total", cache="reported") == 40
    assert value(found, "prompt_tokens_total", cache="unreported") == 40


def test_a_request_of_several_rollouts_is_one_request() -> None:
    metrics = Metrics()
    metrics.started("chat")
    metrics.observed(in_rounds())
    metrics.finished(in_rounds(), "chat")
    found = samples(metrics)
    assert value(found, "requests_total") == 1
    assert value(found, "rollouts_total") == 2


def test_a_plain_completion_counts_its_tokens_and_is_no_rollout() -> None:
    metrics = Metrics()
    metrics.started("completions")
    metrics.completed(Usage(generated_tokens=7, prompt_tokens=5, time_to_first_token_s=0.1), "completions")
    found = samples(metrics)
    assert value(found, "requests_total", endpoint="completions", outcome="completed") == 1
    assert (value(found, "generated_tokens_total"), value(found, "prompt_tokens_total")) == (7, 5)
    assert value(found, "time_to_first_token_seconds_count") == 1
    assert value(found, "rollouts_total") == value(found, "rollout_seconds_count") == 0


def test_pools_tell_what_they_know_and_nothing_of_what_they_do_not() -> None:
    found = samples(Metrics(), STATS)
    expected = {"replicas": 2, "running": 3, "waiting": 1, "kv_cache_use_ratio": 0.5, "calls_total": 9}
    expected |= {"affinity_hits_total": 6, "spill_overs_total": 2, "retries_total": 1, "cancelled_total": 3}
    assert {name: value(found, f"pool_{name}", pool="model") for name in expected} == expected
    assert value(found, "pool_replicas", pool="far") == 0
    assert not [s for s in found if s.name == "sprint_pool_kv_cache_use_ratio" and s.labels["pool"] == "far"]
    assert value(found, "rollouts_in_progress") == 5
    assert not [s for s in samples(Metrics()) if s.name.startswith("sprint_pool")]


def test_a_pool_that_is_gone_at_the_next_scrape_is_not_shown_again() -> None:
    metrics = Metrics()
    assert b'pool="model"' in metrics.render(STATS)
    assert b'pool="model"' not in metrics.render(None)


# --- what scrapers ask for -------------------------------------------------------------------------------------------


def test_labels_stay_few_whatever_is_called() -> None:
    metrics = Metrics()
    for number in range(10 * MOST_LABELS):
        metrics.started(f"endpoint {number}")
        metrics.refused(f"reason {number}", f"endpoint {number}")
    found = samples(metrics)
    for name, label in (("requests_total", "endpoint"), ("requests_refused_total", "reason")):
        values = {s.labels[label] for s in found if s.name == f"sprint_{name}"}
        assert len(values) == MOST_LABELS
        assert OTHER in values
        assert value(found, name) == 10 * MOST_LABELS, "what has no label of its own is still counted"


def test_no_text_of_a_question_or_a_model_is_shown(rollouts: Sequence[Rollout]) -> None:
    text = after(rollouts).render(STATS).decode()
    assert "sprint_generated_tokens_total" in text
    assert "secret" in rollouts[0].question
    assert "secret" in rollouts[0].text
    assert "secret" not in text


def test_every_metric_has_a_sentence_a_unit_and_a_name_of_our_own(rollouts: Sequence[Rollout]) -> None:
    families = families_of(after(rollouts).render(STATS))
    for family in families:
        assert re.fullmatch(r"sprint_[a-z_]+", family.name), family.name
        assert family.documentation[0].isupper(), family.name
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(s|ms|secs|count|created)$", family.name), family.name
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}


def test_series_that_can_be_foreseen_begin_at_zero() -> None:
    found = samples(Metrics())
    assert {s.labels["outcome"] for s in found if s.name == "sprint_executions_total"} == set(ExecutionOutcome)
    assert value(found, "rollout_failures_total", failure="unavailable") == 0


def test_two_services_in_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.observed(sequential())
    assert value(samples(one), "rollouts_total") == 1
    assert value(samples(other), "rollouts_total") == 0
