"""Checkpoints of real DeepSpeed engines, without Ray: two workers write, two go on exactly, one goes on too.

One pair of processes does everything for two workers, and one process what a single worker does; the tests look at
what they noted. The disk that is full is a limit on the size of files, which the system itself enforces.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import ProcessException

from sprint.card import Instruction, Method, ModelCard
from sprint.files import read_json
from sprint.render import Prompter
from sprint.tokenizer import HFTokenizer
from tests.edge import engines
from tests.edge.checkpointing import ALL_CASES, CASES, SAVED, Case, go_on, name, rounding, two_workers, write
from train.checkpoints import converted, latest, whole_checkpoints
from train.export import finish
from train.smoke import generate
from train.universal import convert_here, main

# vLLM alone, in a process of its own: greedy tokens after some ids, as many as the smoke generation has.
VLLM = """
import json, sys
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=64, enforce_eager=True, kv_cache_memory_bytes=32 << 20)
asked = {"prompt_token_ids": json.loads(sys.argv[2])}
[said] = llm.generate(asked, SamplingParams(temperature=0, max_tokens=16), use_tqdm=False)
print(json.dumps(list(said.outputs[0].token_ids)))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers left behind, and then one."""
    root = tmp_path_factory.mktemp("checkpoints")
    with pytest.raises(ProcessException) as caught:  # either of them may be the first to be found dead
        engines.spawn(2, two_workers, root, CASES)
    assert (root / "full.txt").exists(), caught.value  # the full disk comes last
    for case in CASES[1:]:
        convert_here(found(root, case).folder)
    engines.spawn(1, go_on, root, CASES, 1)
    return root


def found(root: Path, case: Case) -> Any:
    one = latest(root / name(case))
    assert one is not None
    return one


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_resumed_engine_goes_on_exactly(root: Path, case: Case) -> None:
    noted = read_json(root / "written-by-2.json")[name(case)]
    assert noted["resumed"] == noted["whole"][SAVED:]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_another_number_of_workers_goes_on_to_rounding(root: Path, case: Case) -> None:
    whole = read_json(root / "written-by-2.json")[name(case)]["whole"]
    alone = read_json(root / "gone-on-with-by-1.json")[name(case)]
    assert alone == pytest.approx(whole[SAVED:], rel=rounding(case))


def test_dropout_goes_on_with_the_same_random_numbers(root: Path) -> None:
    noted = read_json(root / "dropout.json")
    assert noted["again"] == noted["whole"] != noted["other"]
    assert not set(noted["numbers"][0]) & set(noted["numbers"][1])  # each worker has its own


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_it_is_whole(root: Path) -> None:
    said = (root / "full.txt").read_text()
    assert said.startswith("the checkpoint of step 2 could not be written to ")
    assert said.endswith("the one of step 1 is intact")
    assert "\n" not in said
    assert [one.step for one in whole_checkpoints(root / "full")] == [1]


@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("lora", torch.float32)])
def test_an_export_is_an_ordinary_model(root: Path, kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    tokenizer = engines.save_tokenizer(tmp_path / "tokenizer")
    card = ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    finish(root / kind, HFTokenizer(tokenizer), card, tmp_path / "model", lambda draft: "a card")
    weights = engines.weights(tmp_path / "model")
    assert {value.dtype for value in weights.values()} == {dtype}
    assert not any("lora" in key or "base_layer" in key for key in weights)
    assert generate(tmp_path / "model", "ab").new_tokens > 0


def test_the_command_converts_and_says_so(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[1]
    assert converted(found(root, case))
    main([str(root / name(case))])
    assert "can now be read by any number of workers" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "a whole checkpoint" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bf16", "lora"])
def test_vllm_loads_an_export_and_writes_what_transformers_writes(
    root: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve_app.pools.vllm_server import CPU_ENVIRONMENT, ENVIRONMENT

    tokenizer = HFTokenizer(engines.save_tokenizer(tmp_path / "tokenizer"))
    card = ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    finish(root / kind, tokenizer, card, tmp_path / "model", lambda draft: "a card")
    for key, value in (ENVIRONMENT | CPU_ENVIRONMENT).items():
        monkeypatch.setenv(key, value)
    asked = Prompter(tokenizer, card).question_ids("ab")
    child = [sys.executable, "-c", VLLM, str(tmp_path / "model"), json.dumps(asked)]
    ran = subprocess.run(child, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert tokenizer.decode(json.loads(ran.stdout.splitlines()[-1])) == generate(tmp_path / "model", "ab").text


@pytest.mark.slow
def test_every_stage_optimizer_and_precision_goes_on_with_fewer_and_with_more_workers(tmp_path: Path) -> None:
    for many, few in ((2, 1), (1, 2)):
        root = tmp_path / str(many)
        root.mkdir()
        engines.spawn(many, write, root, ALL_CASES, many)
        written = read_json(root / f"written-by-{many}.json")
        for case in ALL_CASES:
            assert written[name(case)]["resumed"] == written[name(case)]["whole"][SAVED:], case
            if case["zero_stage"]:
                subprocess.run([sys.executable, "-m", "train.universal", root / name(case)], check=True)
        engines.spawn(few, go_on, root, ALL_CASES, few)
        gone_on = read_json(root / f"gone-on-with-by-{few}.json")
        for case in ALL_CASES:
            whole = written[name(case)]["whole"]
            assert gone_on[name(case)] == pytest.approx(whole[SAVED:], rel=rounding(case)), case
