"""What inference shows a model before each token that training supervises, taken from the engine itself.

A scripted model plays a trajectory to the real engine; every call's prompt and what was sampled after it are kept. In
the order in which a training row supervises its tokens they are the contexts that training logits are compared with.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sprint import tags
from sprint.batching import IGNORED, Row, pack, pad, row_of
from sprint.card import Instruction, Method, ModelCard
from sprint.engine import Engine
from sprint.llm import Chunk, Sampling
from sprint.options import EngineOptions
from sprint.render import Layout, Prompter, training_example, trajectory_text
from sprint.scripted import ScriptedLLM
from sprint.tokenizer import Tokenizer
from sprint.types import Execution, Round, Trajectory
from tests.unit.follow import follow
from train.models import SupervisedLoss
from train.options import Attention

TOLERANCE = 1e-4
CARD = ModelCard(Method.SPRINT, Instruction.NONE)
_WORDS = ("let", "us", "see", "7+5=12", "a<b", "so", "12", "-----", "é", "then\n")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call to a model: its prompt, and what was sampled. `place`: round and prompt; 0, 0 is the planner."""

    prompt: tuple[int, ...]
    sampled: tuple[int, ...]
    place: tuple[int, int]


class Recording:
    """A scripted model that keeps what it was asked and said, id by id."""

    def __init__(self, tokenizer: Tokenizer, trajectory: Trajectory) -> None:
        self.tokenizer = tokenizer
        script = follow(trajectory)
        self.llm = ScriptedLLM(tokenizer, lambda prompt: _first_block(script(prompt)), chunk_tokens=16)
        self.asked: list[Asked] = []

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, session: str = ""
    ) -> AsyncGenerator[Chunk, None]:
        sampled: list[int] = []
        opened = re.search(r"<execution_(\d+)\.(\d+)>\n\Z", self.tokenizer.decode(list(prompt_ids)))
        place = (int(opened[1]), int(opened[2])) if opened else (0, 0)
        async for chunk in self.llm.stream(prompt_ids, sampling, session=session):
            sampled += chunk.token_ids
            if chunk.finish_reason is not None:
                self.asked.append(Asked(tuple(prompt_ids), tuple(sampled), place))
            yield chunk


def _first_block(text: str) -> str:
    """Up to the first closing tag of a plan or an answer: encoded by itself, as a model samples it."""
    closed = re.match(r".*?</(?:Plan_\d+|Final_answer)>", text, re.S)
    return closed[0] if closed else text


def asked_of(tokenizer: Tokenizer, question: str, trajectory: Trajectory) -> list[Asked]:
    """The engine's calls, in the order of a training row: the planner's, then each execution's."""
    model = Recording(tokenizer, trajectory)
    engine = Engine(model, model, Prompter(tokenizer, CARD), 1 << 20)
    asyncio.run(engine.run(question, EngineOptions(temperature=0)))
    return sorted(model.asked, key=lambda asked: (*asked.place, len(asked.prompt)))


# --- training rows ---------------------------------------------------------------------------------------------------


def random_trajectory(rng: random.Random, *prompts: int) -> Trajectory:
    """A round with each number of prompts; with text behind the last prompt, so that a plan has a tail."""
    rounds = tuple(_round(rng, number, count) for number, count in enumerate(prompts, 1))
    return Trajectory(rounds, f"\\boxed{{{_prose(rng)}}}")


def _round(rng: random.Random, number: int, count: int) -> Round:
    parts = [_prose(rng)]
    for k in range(1, count + 1):
        parts += [tags.prompt(number, k, _prose(rng)), _prose(rng)]
    return Round("\n".join(parts), tuple(Execution(_prose(rng)) for _ in range(count)))


def _prose(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 3))).strip()


def row_for(tokenizer: Tokenizer, question: str, trajectory: Trajectory, layout: Layout = Layout.EXACT) -> Row:
    example = training_example("x", question, trajectory_text(trajectory), Prompter(tokenizer, CARD), layout)
    return row_of(example)


def laid(tokenizer: Tokenizer, trajectories: Sequence[Trajectory]) -> tuple[Row, list[Asked]]:
    """Trajectories in one row of layout `exact`, and the engine's calls in the order in which it supervises them."""
    pairs = []
    for number, trajectory in enumerate(trajectories):
        row = row_for(tokenizer, f"why {number}?", trajectory)
        calls = asked_of(tokenizer, f"why {number}?", trajectory)
        assert [label for label in row.labels if label != IGNORED] == [id for call in calls for id in call.sampled]
        pairs.append((row, calls))
    pairs.sort(key=lambda pair: len(pair[0]), reverse=True)  # as packing lays them
    return packed([row for row, _ in pairs]), [call for _, calls in pairs for call in calls]


def packed(documents: Sequence[Row], spare: int = 5) -> Row:
    """All documents in one row with some padding, in the order given: as equal lengths would be packed."""
    [row] = pack([*documents], sum(map(len, documents)))
    return pad(row, len(row) + spare, pad_id=0)


# --- the check -------------------------------------------------------------------------------------------------------


def batch_of(row: Row) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([getattr(row, name)]) for name in Row.__dataclass_fields__}


def training_logits(model: Any, row: Row, attention: Attention) -> torch.Tensor:
    """At every supervised position of the row, in its order: (supervised, vocabulary)."""
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        logits, labels = SupervisedLoss(model, autocast=False, attention=attention).logits(batch_of(row), plain=False)
    assert labels.tolist() == [label for label in row.labels if label != IGNORED]
    return logits


def inference_logits(model: Any, calls: Sequence[Asked]) -> torch.Tensor:
    """Before every sampled token, given its call's prompt and what was sampled before: (sampled, vocabulary)."""
    found = []
    with torch.no_grad():
        for call in calls:
            logits = model(input_ids=torch.tensor([call.prompt + call.sampled[:-1]])).logits[0]
            found.append(logits[len(call.prompt) - 1 :])
    return torch.cat(found)


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Every logit of every position, to rounding."""
    assert found.shape == expected.shape
    worst = float((found - expected).abs().max())
    assert worst <= TOLERANCE, f"logits differ by {worst:.2g}"


# --- masks that leak -------------------------------------------------------------------------------------------------


def _siblings_visible(row: Row) -> Row:
    """An execution sees those before it in its document."""
    return replace(row, streams=tuple(min(stream, 1) for stream in row.streams))


def _tail_visible(row: Row) -> Row:
    """A branch sees one token behind its prompt."""
    return replace(
        row, visible=tuple(seen + (stream > 0) for seen, stream in zip(row.visible, row.streams, strict=True))
    )


def _prompt_cut(row: Row) -> Row:
    """A branch misses the last token of its prompt."""
    return replace(
        row, visible=tuple(seen - (stream > 0) for seen, stream in zip(row.visible, row.streams, strict=True))
    )


def _branch_one_on(row: Row) -> Row:
    """A branch's positions are one too high."""
    moved = tuple(at + (stream > 0) for at, stream in zip(row.positions, row.streams, strict=True))
    return replace(row, positions=moved)


def _positions_in_row(row: Row) -> Row:
    """Positions count along the row, whatever stands in it."""
    return replace(row, positions=tuple(range(len(row))))


def _documents_visible(row: Row) -> Row:
    """A document sees those before it in its row."""
    return replace(row, documents=tuple(min(document, 0) for document in row.documents))


LEAKS: tuple[Callable[[Row], Row], ...] = (
    _siblings_visible,
    _tail_visible,
    _prompt_cut,
    _branch_one_on,
    _positions_in_row,
    _documents_visible,
)
