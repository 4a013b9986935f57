"""Unchanged real clients against the service: the `openai` package, `curl`, and lm-evaluation-harness.

The model follows a script, so what each client should have heard is known to the letter. The harness is not among the
project's packages: install `lm_eval` beside it, or name a Python that has it in SPRINT_LM_EVAL_PYTHON.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.service_script import MODEL, Asked
from benchmarks.structures import Structure
from sprint import tags
from sprint.usage import RoundCounts
from tests.edge.scripted_service import Served, serving

ROUNDS = (RoundCounts(60, (25, 55), (30, 40)), RoundCounts(40, (35,), (25,)))
QUESTIONS = 8
HARNESS = os.environ.get("SPRINT_LM_EVAL_PYTHON") or (importlib.util.find_spec("lm_eval") and sys.executable)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models") / "scripted"
    structures = [Structure(f"question {number}", 12, ROUNDS, 16) for number in range(QUESTIONS)]
    with serving(folder, structures, kv_cache_mib=64) as server:
        yield server


@pytest.fixture
def asked(served: Served) -> Asked:
    return served.staged.questions[0]


# --- openai ----------------------------------------------------------------------------------------------------------


def chat_of(asked: Asked) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": asked.question}], "temperature": 0}


def client_of(served: Served, kind: str) -> Any:
    import openai

    return getattr(openai, kind)(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def test_the_openai_client_gets_the_answer(served: Served, asked: Asked) -> None:
    with client_of(served, "OpenAI") as client:
        answer = client.chat.completions.create(**chat_of(asked))
    assert answer.choices[0].message.content == asked.answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == asked.tokens
    assert answer.model_extra["sprint"]["usage"]["num_rounds"] == len(ROUNDS)


def test_the_openai_client_streams_the_answer(served: Served, asked: Asked) -> None:
    with client_of(served, "OpenAI") as client:
        chunks = list(client.chat.completions.create(**chat_of(asked), stream=True))
        whole = client.chat.completions.create(**chat_of(asked)).choices[0].message
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == asked.answer
    assert "".join(delta.model_extra.get("reasoning_content") or "" for delta in deltas) == whole.reasoning_content


def test_the_asynchronous_openai_client_asks_many_at_once(served: Served) -> None:
    async def ask_all() -> list[Any]:
        async with client_of(served, "AsyncOpenAI") as client:
            asking = [client.chat.completions.create(**chat_of(asked)) for asked in served.staged.questions]
            return list(await asyncio.gather(*asking))

    answers = [answer.choices[0].message.content for answer in asyncio.run(ask_all())]
    assert answers == [asked.answer for asked in served.staged.questions]


def test_the_openai_client_continues_text(served: Served, asked: Asked) -> None:
    closing = tags.closing(tags.TagKind.PLAN, 1)
    asking = {"model": MODEL, "prompt": asked.prompt, "temperature": 0, "max_tokens": 100, "stop": closing}
    with client_of(served, "OpenAI") as client:
        whole = client.completions.create(**asking).choices[0]
        streamed = client.completions.create(**asking, stream=True)
        texts = [chunk.choices[0].text for chunk in streamed if chunk.choices]
    assert whole.text == asked.plan.removesuffix(closing)
    assert whole.finish_reason == "stop"
    assert "".join(texts) == whole.text


def test_the_openai_client_lists_the_model(served: Served) -> None:
    with client_of(served, "OpenAI") as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).id == MODEL


def test_the_openai_client_raises_its_own_errors(served: Served) -> None:
    import openai

    with client_of(served, "OpenAI") as client:
        with pytest.raises(openai.NotFoundError, match="other"):
            client.chat.completions.create(model="other", messages=[{"role": "user", "content": "?"}])
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "?"}], temperature=-1)


# --- curl ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_shows_the_answer_as_it_grows(served: Served, asked: Asked) -> None:
    body = json.dumps(chat_of(asked) | {"stream": True})
    headers = ["-H", "content-type: application/json"]
    command = ["curl", "-sSN", "--fail", f"{served.url}/v1/chat/completions", *headers, "-d", body]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    *events, last = [line.removeprefix("data: ") for line in shown.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]"
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == asked.answer


# --- lm-evaluation-harness -------------------------------------------------------------------------------------------


def write_task(folder: Path, rows: list[dict[str, str]], until: str, **more: Any) -> None:
    """A task of the harness's own kind, over a file."""
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task: dict[str, Any] = {
        "task": "scripted",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [until], "temperature": 0, "do_sample": False, "max_gen_toks": 400},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / "scripted.yaml").write_text(yaml.safe_dump(task | more), encoding="utf-8")


def evaluate(folder: Path, model: str, arguments: dict[str, Any], *more: str) -> float:
    """Runs the harness as its users do; the exact-match score that it reports."""
    said = ",".join(f"{key}={value}" for key, value in arguments.items())
    command = [str(HARNESS), "-m", "lm_eval", "--model", model, "--model_args", said, "--tasks", "scripted"]
    paths = ["--include_path", str(folder), "--output_path", str(folder / "out")]
    settings = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "OPENAI_API_KEY": "none"}
    command += [*paths, "--batch_size", "1", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=os.environ | settings)
    assert done.returncode == 0, done.stderr[-2000:]
    print(f"\n{done.stdout[-1500:]}")
    (report,) = (folder / "out").rglob("results_*.json")
    score: float = json.loads(report.read_text(encoding="utf-8"))["results"]["scripted"]["exact_match,none"]
    return score


needs_harness = pytest.mark.skipif(not HARNESS, reason="lm_eval is not installed: see the top of this file")


@needs_harness
def test_the_evaluation_harness_scores_chat_answers(served: Served, tmp_path: Path) -> None:
    rows = [{"question": asked.question, "answer": asked.answer} for asked in served.staged.questions]
    write_task(tmp_path, rows, until="<|nothing ends it|>")
    arguments = {"model": MODEL, "base_url": f"{served.url}/v1/chat/completions", "num_concurrent": 4}
    assert evaluate(tmp_path, "local-chat-completions", arguments, "--apply_chat_template") == 1.0


@needs_harness
def test_the_evaluation_harness_scores_continuations(served: Served, tmp_path: Path) -> None:
    closing = tags.closing(tags.TagKind.PLAN, 1)
    questions = served.staged.questions
    rows = [{"question": asked.prompt, "answer": asked.plan.removesuffix(closing)} for asked in questions]
    write_task(tmp_path, rows, until=closing)
    arguments = {
        "model": MODEL,
        "base_url": f"{served.url}/v1/completions",
        "num_concurrent": 4,
        "tokenizer": str(served.staged.folder),
        "tokenized_requests": True,
    }
    assert evaluate(tmp_path, "local-completions", arguments) == 1.0
