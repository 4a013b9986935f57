"""What the service benchmark makes both servers say: answers of known structure, found by the prompts before them.

Every call of an answer is known beforehand, so a file can hold, for each prompt, the ids that follow it. Engines read
that file (`service_forcing`), so neither server is told anything by its clients that a real client would not say.
It knows no server and does not import vLLM.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.forced import Shape
from benchmarks.structures import Structure, draw, scaled
from benchmarks.trajectories import Answer, Contexts, Ids, Speaker, save_tokenizer
from sprint import tags
from sprint.card import Instruction, Method, ModelCard
from sprint.files import write_json
from sprint.options import View
from sprint.render import Prompter
from sprint.views import stop_string

MODEL = "scripted"
ENGINE_ENVIRONMENT = {"VLLM_USE_V2_MODEL_RUNNER": "0"}  # the forcing processor is written for the first one
_SPARE_TOKENS = 64
_MOST_ROUNDS = 100
_NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"  # a safetensors file: the length of its header, and an empty one


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the raw server, ready to send but for its priority. `after`: plan tokens that must be there first."""

    body: bytes
    tokens: int
    after: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: what is sent to the service, and the calls that a client of the raw server makes instead.

    prompt  the text that the service makes of the question for the model
    plan    what is said first
    answer  what stands in the final answer
    """

    question: str
    prompt: str
    plan: str
    answer: str
    body: bytes
    rounds: tuple[tuple[Call, tuple[Call, ...]], ...]  # the plan, its executions
    final: Call
    tokens: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A model folder with random weights to be, the script, and the questions."""

    folder: Path
    script: Path
    context_tokens: int
    questions: list[Asked]


def key(prompt_ids: Sequence[int]) -> str:
    """Names a prompt in the script."""
    return hashlib.blake2b(array("I", prompt_ids).tobytes(), digest_size=12).hexdigest()


class Script:
    """What follows each prompt, read from a file."""

    def __init__(self, path: Path) -> None:
        self._said: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
        self._longest = max(map(len, self._said.values()), default=0)

    def after(self, prompt_ids: list[int]) -> list[int] | None:
        """What is said next; None where the script does not know the prompt.

        A call that is taken up again elsewhere begins with some of what it had said already.
        """
        count = len(prompt_ids)
        for cut in range(count, max(0, count - self._longest) - 1, -1):
            said = self._said.get(key(prompt_ids[:cut]))
            if said is not None and said[: count - cut] == prompt_ids[cut:]:
                return said[count - cut :]
        return None


def drawn(count: int, seed: int, scale: float) -> list[Structure]:
    """Structures of about the published model's, with every part `scale` times as long."""
    return [scaled(structure, scale) for structure in draw(count, seed)]


def stage(
    folder: Path,
    found: Sequence[Structure],
    layers: int,
    hidden: int,
    seed: int,
    stream: bool = False,
    questions_of: Stage | None = None,
) -> Stage:
    """Writes a model folder and the script of a question for each structure.

    stream        they ask for streams
    questions_of  another stage of the same structures, whose questions get other answers here
    """
    tokenizer = save_tokenizer(found, folder)
    card = ModelCard(Method.SPRINT, Instruction.NONE)
    card.save(folder)
    (folder / "model.safetensors").write_bytes(_NO_WEIGHTS)  # the engine makes some up, but a model folder has a file
    prompter, speaker = Prompter(tokenizer, card), Speaker(tokenizer, seed)
    script: dict[str, list[int]] = {}
    questions: list[Asked] = []
    longest = 0
    same = questions_of.questions if questions_of else []
    for number, answer in enumerate(map(speaker.say, found)):
        answer = replace(answer, question=same[number].question) if same else answer
        contexts = Contexts(answer, prompter.question_ids(answer.question), tokenizer)
        longest = max(longest, len(contexts.whole))
        script |= {key(prompt): list(said) for prompt, said in _calls(answer, contexts)}
        questions.append(_asked(answer, contexts, prompter, stream))
    context_tokens = longest + _SPARE_TOKENS
    shape = Shape(layers, hidden, -(-tokenizer.vocab_size // 64) * 64)
    write_json(folder / "config.json", shape.config(context_tokens, tokenizer.eos_id))
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
    return Stage(folder, folder / "script.json", context_tokens, questions)


def scripted_engine(staged: Stage) -> dict[str, Any]:
    """Engine arguments: weights are made up, and what is said is the script's."""
    processors = ["benchmarks.service_forcing:Scripted"]
    script = {"script": str(staged.script)}
    return {"load_format": "dummy", "logits_processors": processors, "additional_config": script}


def _calls(answer: Answer, contexts: Contexts) -> Iterator[tuple[Ids, Ids]]:
    for number, spoken in enumerate(answer.rounds):
        yield contexts.planner[number], spoken.plan
        yield from zip(contexts.prefix_views[number], spoken.executions, strict=True)
    yield contexts.planner[-1], answer.final


def _asked(answer: Answer, contexts: Contexts, prompter: Prompter, stream: bool) -> Asked:
    rounds = []
    for number, spoken in enumerate(answer.rounds, 1):
        plan = _call(contexts.planner[number - 1], spoken.plan, _plan_stops(number), stream)
        views = contexts.prefix_views[number - 1]
        ends = spoken.counts.prefix_tokens
        executions = [
            _call(view, said, (stop_string(View.PREFIX, number, k), tags.THINK_CLOSE.strip()), stream, end)
            for k, (view, said, end) in enumerate(zip(views, spoken.executions, ends, strict=True), 1)
        ]
        rounds.append((plan, tuple(executions)))
    final = _call(contexts.planner[-1], answer.final, _plan_stops(len(rounds) + 1), stream)
    options: dict[str, Any] = {"mode": "parallel", "max_rounds": _MOST_ROUNDS}
    messages = [{"role": "user", "content": answer.question}]
    chat = {"model": MODEL, "messages": messages, "temperature": 0, "stream": stream, "sprint": options}
    prompt = prompter.question_text(answer.question)
    told = prompter.tokenizer.decode(answer.final).removeprefix(tags.FINAL_OPEN).removesuffix(tags.FINAL_CLOSE)
    body = json.dumps(chat).encode()
    plan = prompter.tokenizer.decode(answer.rounds[0].plan)
    return Asked(answer.question, prompt, plan, told, body, tuple(rounds), final, answer.written_tokens)


def _plan_stops(number: int) -> tuple[str, ...]:
    return tags.closing(tags.TagKind.PLAN, number), tags.FINAL_CLOSE.strip(), tags.THINK_CLOSE.strip()


def _call(prompt: Ids, said: Ids, stop: Sequence[str], stream: bool, after: int = 0) -> Call:
    """As the service asks its engine: the same prompt and stop strings, and no more tokens than will be said."""
    body = {
        "model": MODEL,
        "prompt": list(prompt),
        "max_tokens": len(said),
        "temperature": 0,
        "stop": list(stop),
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "stream": stream,
    }
    return Call(json.dumps(body).encode(), len(said), after)
