"""A language model's second look at answers that the grader did not accept: off unless an endpoint is given.

It is asked only whether an answer means the reference answer, and its verdict is marked as its own. It knows an
OpenAI-compatible endpoint, no method and no file.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from importlib.resources import files
from typing import Any

from sprint.benchmarks import Sample, Score
from sprint.equality import GRADER
from sprint.errors import ConfigError, LLMError, LLMUnavailable
from sprint.evals.config import JudgeConfig
from sprint.tasks import Grade

_MAX_CHARS = 600  # of a longer answer, or one without a box, the end is shown
_VERDICT = re.compile(r"\b(SAME|DIFFERENT)\b")
_DENIED = re.compile(r"(?:\bnot|n[’']t)\s+(?:\w+\s+){0,2}(?:SAME|DIFFERENT)\b", re.IGNORECASE)
_BUSY = (429, 503)


class Judge:
    """Asks one model. Blocking, and safe in several threads.

    transport  replaces the network (tests)
    pause_s    the first wait before trying again, then doubled
    """

    def __init__(self, config: JudgeConfig, *, transport: Any = None, pause_s: float = 0.5) -> None:
        import httpx

        if not config.model:
            raise ConfigError("judge has a base_url and no model, expected both", field="judge")
        key = os.environ.get(config.api_key_env, "").strip()
        self.name = f"judge {config.model}"
        self._config = config
        self._pause_s = pause_s
        self._template = (files("sprint") / "prompts" / "judge.txt").read_text(encoding="utf-8")
        self._client = httpx.Client(
            base_url=config.base_url.rstrip("/") + "/",
            timeout=httpx.Timeout(config.timeout_s, connect=10.0),
            headers={"authorization": f"Bearer {key}"} if key else {},
            transport=transport,
        )

    def reconsider(self, sample: Sample, text: str, score: Score) -> Score:
        """The score after the judge has seen it: another grader's name is on it where the verdict changed it.

        Answers accepted already, and those of tasks with an exact checker, are not shown to it. Raises LLMUnavailable
        or LLMError when it cannot be asked.
        """
        if score.grade is Grade.CORRECT or GRADER not in (score.grader, *score.other_grades) or not text.strip():
            return score
        verdict = self._ask(sample, (score.found or text.strip())[-_MAX_CHARS:])
        if verdict is None:
            return score
        if not verdict:
            return replace(score, other_grades={**score.other_grades, self.name: False})
        others = {score.grader: False, **score.other_grades}
        return replace(score, grade=Grade.CORRECT, grader=self.name, other_grades=others)

    def _ask(self, sample: Sample, given: str) -> bool | None:
        """Whether both are the same; None where the reply does not say."""
        values = {"question": sample.question, "gold": sample.answer, "given": given}
        prompt = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], self._template)
        reply = self._reply({"model": self._config.model, "temperature": 0, "max_tokens": self._config.max_tokens,
                             "messages": [{"role": "user", "content": prompt}]})  # fmt: skip
        said = _VERDICT.findall(_DENIED.sub("", reply))  # "not the SAME" says neither
        return said[-1] == "SAME" if said else None

    def _reply(self, body: dict[str, Any]) -> str:
        """The text of the reply. A busy or lost endpoint is tried again."""
        for attempt in range(self._config.retries + 1):
            try:
                return self._once(body)
            except LLMUnavailable:
                if attempt == self._config.retries:
                    raise
            time.sleep(self._pause_s * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, body: dict[str, Any]) -> str:
        import httpx

        where = f"the judge at {self._config.base_url}"
        try:
            response = self._client.post("chat/completions", json=body)
        except httpx.TransportError as error:
            raise LLMUnavailable(f"{where} cannot be reached: {str(error) or type(error).__name__}") from error
        if response.status_code in _BUSY:
            raise LLMUnavailable(f"{where} is busy: status {response.status_code}")
        try:
            content = response.raise_for_status().json()["choices"][0]["message"]["content"]
        except (httpx.HTTPStatusError, ValueError, LookupError, TypeError) as error:
            raise LLMError(f"{where} did not answer with a chat completion: status {response.status_code}") from error
        return content if isinstance(content, str) else ""
