"""Solvers: a method and whoever it asks, as one thing that answers questions.

`HttpSolver` asks an endpoint's chat; `RoundsSolver` runs the engine's loop in this process over an endpoint's text
completions. They do not know tasks, right answers or files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sprint.answers import same_answer
from sprint.card import ModelCard
from sprint.errors import ConfigError
from sprint.evals.asking import Answer, Asker
from sprint.evals.config import EvalConfig
from sprint.evals.endpoint import Endpoint, read_answer
from sprint.evals.methods import get_method
from sprint.evals.rounds import EngineAsker, context_window
from sprint.evals.scorers import finder
from sprint.http_llm import Dialect, HttpLLM
from sprint.keys import KEY_VARIABLE, bearer
from sprint.tokenizer import load_tokenizer

__all__ = ["Answer", "HttpSolver", "RoundsSolver", "Solver", "open_solver", "read_answer"]


class Solver(Protocol):
    """Answers questions by one method. Use it as an asynchronous context manager, and find the model first."""

    @property
    def model(self) -> str:
        """The name of the model that answers, once it is known."""
        ...

    async def __aenter__(self) -> Solver: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def find_model(self) -> str:
        """The name of the model that answers. Raises ConfigError when it is not there."""
        ...

    async def solve(self, question: str, seed: int | None = None, *, timeline: bool = False) -> Answer:
        """Answer once. Raises LLMUnavailable, LLMTimeout, LLMError or InputError (the request was refused)."""
        ...


class HttpSolver:
    """Asks one model of one endpoint by the method of the configuration."""

    def __init__(
        self,
        config: EvalConfig,
        *,
        transport: Any = None,
        pause_s: float = 0.5,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`transport` replaces the network (tests); `pause_s` is the first wait before trying again, then doubled."""
        self._config = config
        self._endpoint = Endpoint(config, transport=transport, pause_s=pause_s, clock=clock)
        self._method = get_method(config, same_answer, finder(config))

    @property
    def model(self) -> str:
        """See `Solver`."""
        return self._endpoint.model

    async def __aenter__(self) -> HttpSolver:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._endpoint.__aexit__(*error)

    async def find_model(self) -> str:
        """See `Solver`."""
        return await self._endpoint.find_model()

    async def solve(self, question: str, seed: int | None = None, *, timeline: bool = False) -> Answer:
        """See `Solver`."""
        return await self._method(self._asker, question, self._seed(seed), timeline=timeline)

    @property
    def _asker(self) -> Asker:
        return self._endpoint

    def _seed(self, seed: int | None) -> int:
        return self._config.seed if seed is None else seed


class RoundsSolver(HttpSolver):
    """Method `sprint` over a server that knows no rounds: the loop runs here, its calls go to /completions.

    The configuration's `tokenizer` is the folder of the model: its tokenizer, its config.json and its card.
    """

    def __init__(self, config: EvalConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self._rounds: EngineAsker | None = None
        self._llm: HttpLLM | None = None

    async def __aexit__(self, *error: object) -> None:
        if self._llm:
            await self._llm.close()
        await super().__aexit__(*error)

    async def find_model(self) -> str:
        """See `Solver`. Raises ConfigError also for a folder without tokenizer or context window."""
        model = await super().find_model()
        config, folder = self._config, Path(self._config.tokenizer)
        tokenizer = load_tokenizer(folder)
        dialect = Dialect.OPENAI if config.plain else Dialect.VLLM
        key = bearer().get("authorization", "").removeprefix("Bearer ")
        self._llm = HttpLLM(config.base_url, model, tokenizer, dialect=dialect, api_key=key, timeout_s=config.timeout_s)
        self._rounds = EngineAsker(self._llm, tokenizer, ModelCard.load(folder), context_window(folder), config)
        return model

    @property
    def _asker(self) -> Asker:
        if self._rounds is None:
            raise ConfigError(f"the model is not found yet (its key, if it needs one, stands in {KEY_VARIABLE})")
        return self._rounds


def open_solver(config: EvalConfig) -> Solver:
    """The solver of a configuration that asks an endpoint."""
    return RoundsSolver(config) if config.tokenizer else HttpSolver(config)
