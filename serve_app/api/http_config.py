"""What can be configured about the HTTP door: keys, origins, limits. It knows no server and imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sprint.config import StrictModel


class HttpConfig(StrictModel):
    """The door of one ingress replica; limits are per replica.

    keys_file        bearer keys, one a line, each with or without a name before it (`name:key`); `#` begins a comment
    keys_env         name of an environment variable of the ingress that holds such keys, separated by commas or lines
    open_metrics     whether `/metrics` is open where keys are asked for; `/health` and `/ready` always are
    cors_origins     origins whose pages may call the API from a browser; `*` is any; none by default
    max_requests     requests that are worked on at once
    max_queued       requests that wait for one of those to end; beyond, they are refused with 503
    retry_after_s    seconds after which a refused client is told to come back
    max_body_bytes   longest request body; longer ones are refused with 413 while they are read
    body_timeout_s   seconds that a client has to send its request's body
    stall_timeout_s  seconds that a stream waits for a client which has stopped reading, before it is given up
    max_choices      answers that one request may ask for: `n` times its prompts
    keep_alive_s     seconds of silence after which a stream says a comment, so that nobody between gives it up
    otlp_endpoint    OpenTelemetry collector that gets a trace of each question; None: OpenTelemetry's own variables say
    ray_metrics      whether the counts also go to Ray's metrics agent, for services with several ingress replicas
    """

    keys_file: Path | None = None
    keys_env: str | None = Field(default=None, min_length=1)
    open_metrics: bool = True
    cors_origins: tuple[str, ...] = ()
    max_requests: int = Field(default=256, ge=1)
    max_queued: int = Field(default=512, ge=0)
    retry_after_s: int = Field(default=1, ge=1)
    max_body_bytes: int = Field(default=1 << 20, ge=1)
    body_timeout_s: float = Field(default=30.0, gt=0)
    stall_timeout_s: float = Field(default=60.0, gt=0)
    max_choices: int = Field(default=128, ge=1)
    keep_alive_s: float = Field(default=15.0, gt=0)
    otlp_endpoint: str | None = Field(default=None, min_length=1)
    ray_metrics: bool = False
