"""Batch evaluation on the real Ray Data and vLLM (CPU, a tiny random model): stopped by its budget, and gone on with.

The model's words are noise, so no answer is right; the engines, the loop, the lines and the books are real.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.evaluation.run import evaluate_batch
from sprint.card import Instruction, Method, ModelCard
from sprint.errors import InputError, LLMError
from sprint.evals.budget import Stopped
from sprint.evals.config import BudgetConfig
from sprint.evals.results import Result, read_results
from tests.edge.local_server import Handler, LocalServer
from tests.edge.tiny_model import save_tiny_model
from tests.unit.scripted_endpoint import config_of

COUNT, MAX_TOKENS = 24, 24


def _number(result: Result) -> int:
    return int(result.id)


@pytest.fixture(scope="module", autouse=True)
def ray_for_all() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    ModelCard(Method.SPRINT, Instruction.NONE).save(folder)
    return folder


@pytest.mark.slow  # two engines start
def test_a_batch_stopped_by_its_budget_goes_on_and_asks_nothing_twice(model: Path, tmp_path: Path) -> None:
    engine = {"model": str(model), "context_tokens": 512, "batch_size": 2, "in_flight": 4}
    options = {"method": "sprint", "batch": True, "engine": engine, "max_tokens": MAX_TOKENS, "count": COUNT}
    config = config_of(tmp_path, **options, budget={"tokens": 60})
    with pytest.raises(Stopped, match="of at most 60 tokens are used"):
        evaluate_batch(config)
    first = read_results(config.out)
    assert 0 < len(first) < COUNT
    budget = BudgetConfig.model_validate({})
    summary = evaluate_batch(config.model_copy(update={"resume": True, "budget": budget}))
    assert (summary.num_samples, summary.num_answered, summary.model) == (COUNT, COUNT, "tiny")
    results = read_results(config.out)
    assert [result.id for result in results] == [str(i) for i in range(COUNT)]
    assert [result for result in results if result.id in {one.id for one in first}] == sorted(first, key=_number)
    for result in results:
        assert result.usage is not None
        assert 0 < result.usage.generated_tokens <= MAX_TOKENS
        assert (result.method, result.sampling["batch"], result.concurrency) == ("sprint", True, 4)


class MortalJudge(Handler):
    """Finds every answer different; after `lives` verdicts its status is 500."""

    lives: list[int]

    def do_POST(self) -> None:  # noqa: N802
        self.body()
        self.lives[0] -= 1
        said = {"choices": [{"message": {"content": "DIFFERENT"}}]}
        self.send(200 if self.lives[0] >= 0 else 500, json.dumps(said).encode())


@pytest.mark.slow  # two engines start
def test_a_judge_that_fails_ends_a_batch_in_one_sentence_and_a_resume_asks_the_rest(
    model: Path, tmp_path: Path
) -> None:
    engine = {"model": str(model), "context_tokens": 512, "batch_size": 2, "in_flight": 4}
    options = {"method": "sequential", "batch": True, "engine": engine, "max_tokens": MAX_TOKENS, "count": COUNT}
    lives = [5]
    with LocalServer(MortalJudge, lives=lives) as server:
        judge = {"base_url": f"http://{server.address}/v1", "model": "j", "retries": 0}
        config = config_of(tmp_path, **options, judge=judge)
        with pytest.raises(LLMError) as failure:
            evaluate_batch(config)
        said = "did not answer with a chat completion: status 500; what was answered is kept in"
        assert str(failure.value).startswith(f"the judge at {judge['base_url']} {said}")
        assert type(failure.value) is LLMError
        first = read_results(config.out)
        assert len(first) == 5  # what was judged, also beside the failure, and nothing else
        lives[0] = COUNT
        summary = evaluate_batch(config.model_copy(update={"resume": True}))
    assert (summary.num_samples, summary.num_answered) == (COUNT, COUNT)
    results = read_results(config.out)
    assert [result.id for result in results] == [str(i) for i in range(COUNT)]
    assert [result for result in results if result.id in {one.id for one in first}] == sorted(first, key=_number)
    assert lives[0] == 5  # nobody was judged twice


def test_engines_that_this_ray_cannot_hold_are_refused(model: Path, tmp_path: Path) -> None:
    engine = {"model": str(model), "num_gpus": 8}
    with pytest.raises(InputError, match="the engines claim 8 GPUs, and this Ray has 0"):
        evaluate_batch(config_of(tmp_path, batch=True, engine=engine))
