"""`sprint ask`: one question to a running server, drawn while it is answered.

It knows the server's HTTP interface and what can go wrong on the way to it; `ask_view` draws. httpx and rich are
imported when a question is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sprint import ask_view
from sprint.errors import InputError, LLMError, LLMTimeout, LLMUnavailable
from sprint.keys import KEY_VARIABLE, bearer

if TYPE_CHECKING:
    import httpx
    from rich.console import Console

DEFAULT_URL = "http://127.0.0.1:8000"
SILENCE_S = 300.0  # longest wait for the next piece of an answer


def ask(
    question: str,
    base_url: str = DEFAULT_URL,
    model: str = "",
    options: Mapping[str, Any] | None = None,
    *,
    plain: bool | None = None,
    console: Console | None = None,
    client: httpx.Client | None = None,
) -> str:
    """Ask, draw, and give back the answer.

    model    the first model the server lists, if none is named
    options  further fields of the request; those of its `sprint` object under `sprint`
    plain    text without drawing; by default where standard output is no terminal

    Raises LLMUnavailable when no server answers, and InputError with the server's words when it refuses the request.
    """
    from rich.console import Console

    console = console or Console()
    board = ask_view.Board()
    with _connected(client) as http, _reported(base_url):
        url = base_url.rstrip("/").removesuffix("/v1") + "/v1"
        body = _body(question, model or _first_model(http, url), options or {})
        chunks = _chunks(http, url, body)
        without_drawing = not console.is_terminal if plain is None else plain
        (ask_view.plain if without_drawing else ask_view.drawn)(console, board, chunks)
    return board.answer


# --- the server ------------------------------------------------------------------------------------------------------


def _body(question: str, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    sprint = {**options.get("sprint", {}), "events": True}
    messages = [{"role": "user", "content": question}]
    return {**options, "model": model, "messages": messages, "stream": True, "sprint": sprint}


@contextmanager
def _connected(client: httpx.Client | None) -> Iterator[httpx.Client]:
    if client is not None:
        yield client
        return
    import httpx

    with httpx.Client(timeout=httpx.Timeout(SILENCE_S, connect=5), headers=bearer()) as made:
        yield made


@contextmanager
def _reported(base_url: str) -> Iterator[None]:
    """What can go wrong on the way, in one sentence."""
    import httpx

    try:
        yield
    except httpx.TimeoutException:
        raise LLMTimeout(f"the server at {base_url} did not answer within {SILENCE_S:.0f} s") from None
    except httpx.InvalidURL as error:
        raise InputError(f"{base_url!r} is not a URL: {error}", field="base_url") from None
    except httpx.UnsupportedProtocol:
        raise InputError(
            f"{base_url!r} is not a URL, expected something like {DEFAULT_URL}", field="base_url"
        ) from None
    except httpx.TransportError as error:
        raise LLMUnavailable(
            f"no server answers at {base_url} ({error}); start one with `sprint serve MODEL`"
        ) from None


def _first_model(client: httpx.Client, url: str) -> str:
    response = client.get(f"{url}/models")
    if response.status_code == 401:
        known = "does not know the key in" if bearer() else "asks for a key, expected one in the environment as"
        raise InputError(f"{url} {known} {KEY_VARIABLE}")
    if response.status_code != 200:
        raise LLMUnavailable(f"{url}/models answers {response.status_code}, expected a list of models")
    models: list[str] = [entry["id"] for entry in response.json().get("data", [])]
    if not models:
        raise LLMUnavailable(f"{url} serves no model")
    return models[0]


def _chunks(client: httpx.Client, url: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The answer's chunks as they arrive."""
    with client.stream("POST", f"{url}/chat/completions", json=body) as response:
        if response.status_code != 200:
            raise _refusal(response.status_code, response.read())
        for line in response.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise LLMError(chunk["error"]["message"])
                yield chunk


def _refusal(status: int, body: bytes) -> Exception:
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the server answers {status}: {body[:200].decode(errors='replace')}"
    if status == 503:
        return LLMUnavailable(message)
    return InputError(message) if status < 500 else LLMError(message)
