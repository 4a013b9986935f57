"""What stands around a question when a server does not put it there itself: the instruction, and our own prompts.

It knows the files of `sprint/prompts/`, not what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from sprint.card import Instruction, Method, ModelCard
from sprint.render import Prompter
from sprint.tokenizer import ByteTokenizer

BOXED, AUTO = "boxed", "auto"


@dataclass(frozen=True, slots=True)
class Posing:
    """Poses questions with an instruction.

    auto, none           the bare question (this project's own server adds what its model was taught with)
    sprint, sequential   as models of this project are taught
    boxed                the question, then one sentence that asks for a boxed answer: for chat models
    """

    instruction: str = AUTO

    def posed(self, question: str) -> str:
        """What the user says."""
        if self.instruction in (AUTO, Instruction.NONE):
            return question
        if self.instruction == BOXED:
            return f"{question}\n\n{prompt_text(BOXED)}"
        card = ModelCard(Method.RFT, Instruction(self.instruction))
        return Prompter(ByteTokenizer(), card).user_turn(question)


@lru_cache
def prompt_text(name: str) -> str:
    """The text of `sprint/prompts/NAME.txt`."""
    return (resources.files("sprint") / "prompts" / f"{name}.txt").read_text(encoding="utf-8").strip()


def filled(name: str, **values: str) -> str:
    """The prompt of that name with `{{value}}` put in. What is put in is never looked at again."""
    parts = prompt_text(name).split("{{")
    pieces = [parts[0]]
    for part in parts[1:]:
        key, _, rest = part.partition("}}")
        pieces += [values[key], rest]
    return "".join(pieces)
