"""What a client of `/v1/completions` says, and hears: raw text continued by the planner's model, with no rounds.

Pure data and one collector: prompts in, chunks of sampled text to OpenAI's shapes. It knows no server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, field_validator

from serve_app.api.answers import openai_usage
from serve_app.api.chat_request import seed_of
from serve_app.api.parameters import IGNORED, MOST_CHOICES, NEUTRAL, Neutral, SamplingRequest, parsed
from serve_app.api.stop import Cutter
from sprint.errors import InputError
from sprint.llm import Chunk, FinishReason
from sprint.usage import Usage

Prompt = str | tuple[int, ...]

MOST_TOKENS = 16  # OpenAI's default
COMPLETION_NEUTRAL: dict[str, Neutral] = NEUTRAL | {
    "best_of": Neutral((1, None), "every answer that is sampled is given"),
    "logprobs": Neutral((None,), "the engines report no probabilities"),
    "suffix": Neutral(("", None), "text is continued, not filled in"),
}
_IDS: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 2**31}}
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_PROMPT: dict[str, Any] = {
    "description": "what is continued: text or token ids, or a list of such",
    "anyOf": [
        _TEXT,
        _IDS,
        {"type": "array", "minItems": 1, "maxItems": MOST_CHOICES, "items": _TEXT},
        {"type": "array", "minItems": 1, "maxItems": MOST_CHOICES, "items": _IDS},
    ],
}


class CompletionRequest(SamplingRequest):
    """A request to `/v1/completions`: the model continues each prompt. Sampling ends where a `stop` string begins."""

    prompt: Annotated[tuple[Prompt, ...], WithJsonSchema(_PROMPT)]
    max_tokens: int = Field(default=MOST_TOKENS, ge=1, le=2**31)
    temperature: float = Field(default=1.0, ge=0, le=2)
    echo: bool = Field(default=False, description="begin each answer with its prompt, which must then be text")

    @field_validator("prompt", mode="wrap")
    @classmethod
    def _prompts(cls, value: Any, _: Any) -> tuple[Prompt, ...]:
        prompts = value if isinstance(value, list) and value and not _is_id(value[0]) else [value]
        return tuple(_prompt(prompt) for prompt in prompts)

    def sampling_values(self, index: int) -> dict[str, Any]:
        """How answer `index` is sampled: fields of `sprint.llm.Sampling`."""
        values: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature, "stop": self.stop}
        values |= {"top_p": self.top_p, "seed": seed_of(self.seed, index), "watched": self.stream}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def num_choices(self) -> int:
        """How many answers are asked for."""
        return self.n * len(self.prompt)

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of choice `index`: choices stand prompt by prompt."""
        return self.prompt[index // self.n]


def parse_completion(body: bytes) -> CompletionRequest:
    """A request from its body. Raises InputError with one sentence about the first mistake."""
    request = parsed(body, CompletionRequest, IGNORED, COMPLETION_NEUTRAL)
    if request.echo and not all(isinstance(prompt, str) for prompt in request.prompt):
        raise InputError("'echo' is true, which is only supported for prompts that are text", field="echo")
    return request


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _prompt(value: Any) -> Prompt:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(_is_id(each) and 0 <= each <= 2**31 for each in value):
        return tuple(value)
    raise ValueError("expected text or token ids, not empty, or a list of such")


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Choice:
    """One continuation as it arrives: `text` is told to the client, the stop string is not."""

    index: int
    cutter: Cutter
    text: str = ""
    finish: str | None = None
    num_tokens: int = 0
    cached_tokens: int | None = None
    _seen: bool = field(default=False)

    def take(self, chunks: Sequence[Chunk]) -> str:
        """What the client hears of `chunks`."""
        told = ""
        for chunk in chunks:
            told += self.cutter.feed(chunk.text)
            self.num_tokens += len(chunk.token_ids)
            self.cached_tokens = self.cached_tokens if self._seen else chunk.cached_tokens
            self._seen = True
            if chunk.finish_reason is not None:
                self.finish = "length" if chunk.finish_reason is FinishReason.LENGTH else "stop"
                told += self.cutter.end()
        if self.cutter.stopped:
            self.finish = self.finish and "stop"
        self.text += told
        return told


@dataclass(frozen=True, slots=True)
class CompletionEnvelope:
    """What every object of one answer carries."""

    id: str
    created: int
    model: str

    def completion(self, choices: Sequence[Choice], usage: Usage) -> dict[str, Any]:
        """The whole answer in one object."""
        told = [_choice(choice.index, choice.text, choice.finish) for choice in choices]
        return self._object() | {"choices": told, "usage": openai_usage([usage])}

    def chunk(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        """A piece of a streamed answer."""
        return self._object() | {"choices": [_choice(index, text, finish)]}

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The counts in a chunk of their own."""
        return self._object() | {"choices": [], "usage": openai_usage([usage])}

    def _object(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": finish, "logprobs": None}


def new_choices(asked: CompletionRequest) -> list[Choice]:
    """The choices, before anything was sampled."""
    return [Choice(index, Cutter(asked.stop)) for index in range(asked.num_choices)]


def openings(asked: CompletionRequest) -> Iterator[tuple[int, str]]:
    """The prompts that are echoed, with the index of the choice that each begins."""
    for index in range(asked.num_choices if asked.echo else 0):
        yield index, str(asked.prompt_of(index))


def usage_of(choices: Sequence[Choice], prompts: Sequence[Sequence[int]]) -> Usage:
    """What they cost. A prompt's tokens, those from the cache too, are counted once, however many answers it has."""
    cached = [choice.cached_tokens for choice in choices[:: len(choices) // len(prompts)]]
    known = [count for count in cached if count is not None]
    return Usage(
        generated_tokens=sum(choice.num_tokens for choice in choices),
        prompt_tokens=sum(map(len, prompts)),
        cached_prompt_tokens=sum(known) if len(known) == len(cached) else None,
        num_calls=len(choices),
    )
