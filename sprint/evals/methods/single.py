"""The methods of one call: `auto`, `sprint`, `rft`, `sequential` and `base`. They differ in how the call is answered.

It does not know who answers; rounds are the asker's business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sprint.errors import ConfigError
from sprint.evals.asking import Answer, Asker, Call
from sprint.evals.methods.posing import Posing

NO_ROUNDS = (
    "method sprint needs a server that plans and executes, and this one answered in one breath: serve the model with "
    "`sprint serve`, or give the model's folder as `tokenizer` to run the rounds here over its /completions"
)


@dataclass(frozen=True, slots=True)
class Single:
    """One call. `name` is what the results say, "" for what the server says."""

    posing: Posing
    mode: str
    name: str = ""

    async def __call__(self, asker: Asker, question: str, seed: int, *, timeline: bool = False) -> Answer:
        """See `Method`. Raises ConfigError where rounds were asked for and the server knows none."""
        answer = await asker.ask(Call(self.posing.posed(question), seed, self.mode, timeline=timeline))
        if self.name == "sprint" and not answer.method:
            raise ConfigError(NO_ROUNDS, field="method")
        return replace(answer, method=self.name or answer.method)
