"""An asker that is an engine in this process: it answers as this project's server does, without a server.

It knows the engine's loop and whatever samples tokens for it, and not whether that is a server elsewhere or a model on
this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sprint.card import Instruction, ModelCard
from sprint.ending import error_kind
from sprint.engine import Engine
from sprint.errors import ConfigError, InputError
from sprint.evals.asking import Answer, Call
from sprint.evals.config import EvalConfig
from sprint.evals.methods.posing import AUTO
from sprint.files import read_json
from sprint.llm import LLM
from sprint.options import Dispatch, EngineOptions, Mode
from sprint.render import Prompter
from sprint.tokenizer import Tokenizer
from sprint.types import Rollout, StopReason


class EngineAsker:
    """Answers calls with the engine's loop over `llm`.

    The model's card says what stands before a question, unless the configuration's `instruction` does.
    """

    def __init__(
        self,
        llm: LLM,
        tokenizer: Tokenizer,
        card: ModelCard,
        context_tokens: int,
        config: EvalConfig,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        bare = ModelCard(card.method, Instruction.NONE, card.task)
        self._prompter = Prompter(tokenizer, card if config.instruction == AUTO else bare)
        self._engine = Engine(llm, llm, self._prompter, context_tokens)
        self._context_tokens = context_tokens
        self._config = config
        self._card = card
        self.now = clock

    async def ask(self, call: Call) -> Answer:
        """See `Asker.ask`."""
        self._check(call.text)
        began = self.now()
        rollout = await self._engine.run(call.text, self._options(call))
        if rollout.stop_reason is StopReason.FAILED:
            raise error_kind(rollout.failure)(rollout.detail or "the engine failed")
        return self._answer(rollout, call, self.now() - began)

    def _check(self, text: str) -> None:
        tokens = len(self._prompter.question_ids(text))
        if tokens >= self._context_tokens:
            raise InputError(
                f"the question takes {tokens} tokens with its prompt, the context window holds {self._context_tokens}"
            )

    def _options(self, call: Call) -> EngineOptions:
        config = self._config
        return EngineOptions(
            mode=Mode(call.mode),
            dispatch=Dispatch(config.dispatch),
            max_tokens=config.max_tokens,
            temperature=config.temperature if call.temperature is None else call.temperature,
            top_p=config.top_p,
            seed=call.seed,
            count_as_published=True,
        )

    def _answer(self, rollout: Rollout, call: Call, wall_s: float) -> Answer:
        return Answer(
            text=rollout.answer_text,
            reasoning=rollout.text,
            usage=rollout.usage,
            wall_s=wall_s,
            stop_reason=str(rollout.stop_reason),
            method=str(self._card.method),
            timeline=tuple(asdict(span) for span in rollout.timeline) if call.timeline else (),
            written=rollout.text,
        )


def context_window(folder: Path) -> int:
    """The context window that a model folder's config.json names. Raises ConfigError where it names none."""
    path = folder / "config.json"
    try:
        tokens = read_json(path).get("max_position_embeddings")
    except InputError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(tokens, int):
        raise ConfigError(f"{path} does not say max_position_embeddings, expected a number of tokens")
    return tokens
