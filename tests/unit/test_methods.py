"""The methods over one endpoint: what each asks, what it answers, and what it counts."""

import asyncio
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from sprint.card import Instruction, ModelCard
from sprint.card import Method as CardMethod
from sprint.config import validate
from sprint.equality import same_answer
from sprint.errors import ConfigError, LLMError
from sprint.evals import solvers
from sprint.evals.asking import Answer, derived_seed
from sprint.evals.config import EvalConfig
from sprint.evals.methods.posing import filled, prompt_text
from sprint.evals.methods.self_consistency import majority
from sprint.evals.solvers import RoundsSolver
from sprint.files import write_json
from sprint.http_llm import Dialect
from sprint.scripted import ScriptedLLM
from sprint.tokenizer import ByteTokenizer
from tests.scripts import always_answering
from tests.unit.answering import QUESTION, answer, skeleton
from tests.unit.scripted_endpoint import NUM_PROMPT_TOKENS, ScriptedEndpoint, asked, config_of, guess

BYTES = ByteTokenizer()
METHODS = ("auto", "rft", "sequential", "base", "self-consistency", "sot-chat", "sot-reasoning")


@pytest.mark.parametrize("method", METHODS)
def test_whatever_the_method_an_answer_holds_its_name_and_adds_up_its_calls(tmp_path: Path, method: str) -> None:
    reply = skeleton if method.startswith("sot") else guess
    found, endpoint = answer(tmp_path, reply, method=method, votes=4)
    assert found.method == ("" if method == "auto" else method)
    assert found.usage.num_calls == len(endpoint.bodies)
    assert found.usage.prompt_tokens == NUM_PROMPT_TOKENS * len(endpoint.bodies)
    assert found.usage.cached_prompt_tokens is None
    assert 0 < found.usage.pipelined_tokens == found.usage.barrier_tokens <= found.usage.generated_tokens
    assert found.wall_s > 0


@pytest.mark.parametrize("method", ["rft", "sequential", "base"])
def test_a_sequential_method_waits_for_every_token(tmp_path: Path, method: str) -> None:
    found, endpoint = answer(tmp_path, guess, method=method)
    (body,) = endpoint.bodies
    assert (asked(body), body["seed"], body["sprint"]["mode"]) == (QUESTION, 3, "sequential")
    tokens = len(guess(body))
    usage = found.usage
    assert (usage.paper_sequential_tokens, usage.pipelined_tokens, usage.generated_tokens) == (tokens,) * 3


def test_rounds_are_refused_where_the_server_knows_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="answered in one breath"):
        answer(tmp_path, guess, method="sprint")


def test_a_plain_server_is_sent_nothing_that_openai_does_not_know(tmp_path: Path) -> None:
    _, endpoint = answer(tmp_path, guess, plain=True)
    assert set(endpoint.bodies[0]) == {"model", "messages", "temperature", "top_p", "max_tokens", "seed"}


class ClosableLLM(ScriptedLLM):
    """A scripted model in the place of an HTTP one."""

    closed = False

    async def close(self) -> None:
        self.closed = True


def test_rounds_can_be_run_here_over_a_server_that_only_completes_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm, told = ClosableLLM(BYTES, always_answering), dict[str, Any]()

    def http_llm(base_url: str, model: str, tokenizer: Any, **options: Any) -> ClosableLLM:
        told.update(options, base_url=base_url, model=model)
        return llm

    monkeypatch.setattr(solvers, "HttpLLM", http_llm)
    monkeypatch.setattr(solvers, "load_tokenizer", lambda folder: BYTES)
    write_json(tmp_path / "config.json", {"max_position_embeddings": 4000})
    ModelCard(CardMethod.SPRINT, Instruction.NONE).save(tmp_path)
    config = config_of(tmp_path, method="sprint", tokenizer=str(tmp_path), plain=True)

    async def run() -> Answer:
        solver = RoundsSolver(config, transport=httpx.MockTransport(ScriptedEndpoint(guess)))
        async with solver:
            assert await solver.find_model() == "tiny"
            return await solver.solve(QUESTION, 3)

    found = asyncio.run(run())
    assert (found.method, found.usage.num_rounds, found.usage.num_executions) == ("sprint", 1, 2)
    assert (told["model"], told["dialect"], llm.closed) == ("tiny", Dialect.OPENAI, True)


# --- self-consistency ------------------------------------------------------------------------------------------------


def test_self_consistency_asks_all_its_votes_at_once_each_with_a_seed_of_its_own(tmp_path: Path) -> None:
    _, endpoint = answer(tmp_path, guess, method="self-consistency", votes=7)
    assert endpoint.most_in_flight == 7
    seeds = [body["seed"] for body in endpoint.bodies]
    assert seeds[0] == 3
    assert len(set(seeds)) == 7


def test_self_consistency_waits_for_its_longest_sample_and_pays_for_all(tmp_path: Path) -> None:
    found, endpoint = answer(tmp_path, guess, method="self-consistency", votes=7)
    lengths = [len(guess(body)) for body in endpoint.bodies]
    assert len(set(lengths)) > 1
    usage = found.usage
    assert (usage.pipelined_tokens, usage.generated_tokens, usage.num_executions) == (max(lengths), sum(lengths), 7)
    assert usage.paper_sequential_tokens is usage.code_sequential_tokens is None
    assert [call["generated_tokens"] for call in found.calls] == lengths
    assert [call["answer"] for call in found.calls].count(_boxed(found)) >= math.ceil(7 / 2)


def _boxed(found: Answer) -> str:
    return found.text.split("{")[1].rstrip("}")


@pytest.mark.parametrize(
    ("votes", "elected"),
    [
        (["1", "2", "2"], 1),
        (["0.5", r"\frac{1}{2}", "7", "7", r"\dfrac12"], 0),  # three spellings of a half outvote two sevens
        (["3", "4", "4", "3"], 0),  # tied: the first
        (["", "", "9"], 2),  # no answer is no vote
        (["", ""], 0),
        (["x=5", "5", "6"], 0),  # sameness may hold in one order only
    ],
)
def test_the_majority_is_of_equal_answers_not_of_equal_spellings(votes: list[str], elected: int) -> None:
    assert majority(votes, same_answer) == elected


def test_equal_spellings_are_compared_once() -> None:
    asked = list[tuple[str, str]]()

    def same(first: str, second: str) -> bool:
        asked.append((first, second))
        return False

    majority(["1", "2"] * 50, same)
    assert sorted(asked) == [("1", "2"), ("2", "1")]


def test_when_one_vote_fails_the_others_are_not_waited_for(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        if body["seed"] != 3:
            raise httpx.ReadError("broken")
        return "\\boxed{5}"

    with pytest.raises(LLMError, match="broken"):
        answer(tmp_path, reply, method="self-consistency", votes=5)


# --- questions and seeds ---------------------------------------------------------------------------------------------


def test_an_instruction_stands_where_models_were_taught_with_it(tmp_path: Path) -> None:
    for instruction, expected in (
        ("none", QUESTION),
        ("sequential", f"{prompt_text('sequential')}\n\n<Question>\n{QUESTION}\n</Question>"),
        ("boxed", f"{QUESTION}\n\n{prompt_text('boxed')}"),
    ):
        _, endpoint = answer(tmp_path, guess, instruction=instruction)
        assert asked(endpoint.bodies[0]) == expected


def test_what_is_put_into_a_prompt_is_not_read_as_a_prompt() -> None:
    text = filled("sot_extract", question="{{body}} and {{unknown}}", body="{{question}}")
    assert "{{body}} and {{unknown}}" in text
    assert text.count("{{question}}") == 1


def test_derived_seeds_differ_by_place_and_by_seed_and_never_change() -> None:
    assert derived_seed(0, "vote", 2) == 1716168479
    seeds = {derived_seed(seed, kind, n) for seed in range(20) for kind in ("vote", "point") for n in range(20)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "'method' is 'magic'"),
        ({"method": "rft", "mode": "parallel"}, "mode is of use to method auto only"),
        ({"method": "self-consistency"}, "needs a temperature above 0"),
        ({"tokenizer": "folder"}, "tokenizer is of use to method sprint"),
        ({"seeds": [1, 2, 1]}, "names a seed twice"),
        ({"budget": {"cost": 1.0}}, "needs prices"),
        ({"batch": True}, "belong together"),
        ({"engine": {"model": "folder"}}, "belong together"),
    ],
)
def test_methods_and_limits_that_do_not_fit_are_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        validate(EvalConfig, {"out": "x.jsonl", "task": "chains", **options}, "options")
    assert "\n" not in str(caught.value)
