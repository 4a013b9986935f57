"""What `sprint ask` can be told, and how that becomes a request. It knows no HTTP and draws nothing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sprint.config import StrictModel


class AskConfig(StrictModel):
    """One question to a served model."""

    question: str = Field(min_length=1, description="the question")
    base_url: str = Field("http://127.0.0.1:8000/v1", description="the endpoint")
    model: str = Field("", description="model name; empty: the first that the endpoint names")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="0: greedy")
    max_tokens: int | None = Field(None, ge=1, description="most tokens to generate")
    seed: int | None = Field(None, description="makes a sampled answer reproducible")
    mode: Literal["auto", "parallel", "sequential"] = Field("auto", description="auto: as the model was taught")
    dispatch: Literal["pipelined", "barrier"] = Field("pipelined", description="when executors start")
    plain: bool = Field(False, description="text only, no drawing")


def ask_with(config: AskConfig) -> str:
    """Ask and draw; the answer."""
    from sprint.ask import ask

    given = {"temperature": config.temperature, "max_tokens": config.max_tokens, "seed": config.seed}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    options["sprint"] = {"mode": config.mode, "dispatch": config.dispatch}
    return ask(config.question, config.base_url, config.model, options, plain=config.plain or None)
