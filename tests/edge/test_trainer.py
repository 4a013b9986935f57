"""The trainer's own loop in two DeepSpeed processes, without Ray: whatever saves memory, it trains the same.

One pair of processes runs every case, one after the other; the laws are read off what the runs left behind.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sprint.config import validate
from sprint.render import trajectory_text
from sprint.types import Execution, Kind, Round, Trajectory
from tests.edge.engines import spawn
from tests.edge.learning import write_beginning
from train import loop
from train import run as driver
from train.config import TrainConfig
from train.data import Order, Rows, members
from train.faults import Fault, told
from train.loop import Job
from train.models import SupervisedLoss, load
from train.options import ValidationConfig
from train.reading import read_curated
from train.validation import BEST, Stopping, split

WORLD, STEPS = 2, 4
CPU = {"optimizer": "cpu"}
SAME = {  # all of these are the same training
    "plain": {"zero_stage": 0, "cross_entropy": "full"},
    "stage 1": {"zero_stage": 1},
    "stage 3, in chunks": {"zero_stage": 3},
    "checkpointed": {"zero_stage": 0, "gradient_checkpointing": True},
    "offloaded 1": {"zero_stage": 1, "offload": CPU},
    "offloaded 2": {"zero_stage": 2, "offload": CPU},
    "weights offloaded": {"zero_stage": 3, "offload": {"parameters": "cpu"}},
    "offloaded 3": {"zero_stage": 3, "offload": CPU | {"parameters": "cpu"}},
}
HELD = {"share": 0.3, "every": 2, "export": "best"}
OTHERS: dict[str, dict[str, Any]] = {
    "bf16": {"zero_stage": 0, "precision": "bf16"},
    "bf16 1": {"zero_stage": 1, "precision": "bf16"},
    "lora": {"zero_stage": 0, "lora": {"rank": 2}, "validation": {"share": 0.3}},
    "lora 3": {"zero_stage": 3, "lora": {"rank": 2, "targets": ["q_proj", "down_proj"]}},
    "validated": {"zero_stage": 3, "validation": HELD, "accumulation": 2},
    "patient": {"learning_rate": 1e-30, "validation": {"share": 0.3, "every": 1, "patience": 2}, "max_steps": 9},
    "poisoned": {"micro_rows": 1, "seed": 2, "log_every": 2, "checkpoint_every": 2, "max_steps": 9},
    "steep": {"zero_stage": 0, "learning_rate": 1e30, "clip": 0, "log_every": 3, "checkpoint_every": 3},
}


def text(i: int) -> str:
    said = " ".join(f"{n}+{i}={n + i}" for n in range(1 + 2 * (i % 3)))
    prompts = range(1, 2 + i % 2)
    plan = "\n".join(f"<prompt_1.{k}> add {k} </prompt_1.{k}>" for k in prompts)
    return trajectory_text(Trajectory((Round(plan, tuple(Execution(said) for _ in prompts)),), f"\\boxed{{{i}}}"))


def job(folder: Path, name: str, values: dict[str, Any], start: str = "start") -> Job:
    """What the driver would tell the workers of a run of this name."""
    settings = {
        "data": folder / "data",
        "start": str(folder / start),
        "out": folder,
        "name": name,
        "instruction": "none",
        "precision": "fp32",
        "learning_rate": 3e-3,
        "weight_decay": 0.1,
        "workers": WORLD,
        "micro_rows": 2,
        "max_steps": STEPS,
        "log_every": 1,
    }
    config = validate(TrainConfig, settings | values, "options")
    curated = read_curated(config.data)
    return driver.make_rows(config, curated, *split(curated, config))[0]


def poison(folder: Path, token: int) -> None:
    """A model that loses its mind where it reads one token; its head, no longer the same matrix, is sound."""
    model = load(str(folder / "start"), False, False)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = math.nan
    model.save_pretrained(str(folder / "poisoned start"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "poisoned start" / file).write_bytes((folder / "start" / file).read_bytes())


def work(jobs: list[Job]) -> None:
    """Every case, as a worker of it."""
    import ray.train

    import train.losses

    rank = torch.distributed.get_rank()
    me = SimpleNamespace(get_world_rank=lambda: rank, get_world_size=lambda: WORLD)
    ray.train.get_context = lambda: me  # type: ignore[assignment,return-value]
    train.losses.CHUNK_LOGITS = 1000
    loop.prepare_process = lambda config: None  # done once for all
    for one in jobs:
        loop.worker(one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs' folders, after two workers have run them all."""
    folder = tmp_path_factory.mktemp("trainer")
    rows = [{"id": f"example {i}", "question": f"sums of {i}?", "method": "sprint", "text": text(i)} for i in range(24)]
    rows[7]["question"] = "sums of Z?"
    write_beginning(folder, rows)
    from transformers import AutoTokenizer

    poison(folder, AutoTokenizer.from_pretrained(folder / "start").encode("Z")[0])
    jobs = [
        job(folder, name, values, "poisoned start" if name == "poisoned" else "start")
        for name, values in (SAME | OTHERS).items()
    ]
    spawn(WORLD, work, jobs)
    return folder


def metrics(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", list(SAME))
def test_what_saves_memory_changes_nothing(folder: Path, name: str) -> None:
    expected, found = metrics(folder, "plain"), metrics(folder, name)
    for value in ("loss", "gradient_norm"):
        assert [line[value] for line in found] == pytest.approx([line[value] for line in expected], rel=1e-4)
    for one, other in zip(found, expected, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
        assert (one["tokens"], one["supervised_tokens"]) == (other["tokens"], other["supervised_tokens"])
    assert found[-1]["loss"] < 0.95 * found[0]["loss"]


def model_losses(start: Path, rows: Rows) -> dict[str, float]:
    """Mean loss over all supervised tokens of some rows and of each kind of them, in this process."""
    model = SupervisedLoss(load(str(start), False, False), autocast=False)
    batch = {name: torch.from_numpy(array).long() for name, array in rows.take(range(len(rows))).items()}
    with torch.no_grad():
        logits, labels = model.logits(batch, plain=False)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    kinds = batch["kinds"][batch["labels"] >= 0]
    return {"all": float(each.mean())} | {
        kind.name.lower(): float(each[kinds == kind].mean()) for kind in (Kind.PLAN, Kind.EXECUTION, Kind.ANSWER)
    }


def test_in_bf16_zero_changes_nothing_either(folder: Path) -> None:
    plain, split_up = (metrics(folder, name) for name in ("bf16", "bf16 1"))
    for one, other in zip(plain, split_up, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-3)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=2e-2)


def test_held_out_losses_are_those_of_one_process_and_the_best_weights_are_kept(folder: Path) -> None:
    lines = [line for line in metrics(folder, "validated") if "validation" in line]
    assert [line["step"] for line in lines] == [2, 4]
    best = min((line["validation"] for line in lines), key=lambda found: found["loss"])
    found = model_losses(folder / "validated" / loop.WEIGHTS, Rows(folder / "validated" / "validation"))
    assert best["loss"] == pytest.approx(found.pop("all"), rel=1e-4)
    assert best["losses"] == pytest.approx(found, rel=1e-4)
    assert (folder / "validated" / BEST).is_dir()


def test_no_held_out_example_is_trained_on(folder: Path) -> None:
    texts: list[set[tuple[int, ...]]] = []
    for name in ("rows", "validation"):
        rows = Rows(folder / "validated" / name)
        at = np.split(rows.fields["ids"].ravel(), np.flatnonzero(np.diff(rows.fields["documents"].ravel())) + 1)
        texts.append({tuple(ids.tolist()) for ids in at if len(set(ids.tolist())) > 1})
    assert texts[0]
    assert texts[1]
    assert not texts[0] & texts[1]


def test_training_stops_when_held_out_losses_no_longer_fall(folder: Path) -> None:
    assert [line["step"] for line in metrics(folder, "patient")] == [1, 2, 3]
    assert (folder / "patient" / loop.WEIGHTS / "config.json").is_file()


def test_a_loss_that_is_no_number_names_its_step_and_example_and_exports_nothing(folder: Path) -> None:
    run = folder / "poisoned"
    rows = members(run / "rows")
    [row] = [row for row, examples in enumerate(rows) if 7 in examples]
    met = next(step for step in range(9) if row in Order(len(rows), 1, 1, WORLD, 2).step_rows(step)) + 1
    assert Fault.load(run) == Fault("loss", met, (row,))
    assert told(Fault("loss", met, (row,)), run, read_curated(folder / "data").ids) == (
        f"the loss of step {met} is not a finite number, with the examples 'example 7' in it; "
        f"the checkpoint of step {met - 1} is intact, nothing was exported; see {run}"
    )
    assert not (run / loop.WEIGHTS).exists()
    assert [line["step"] for line in metrics(folder, "poisoned")] == list(range(2, met, 2))


def test_a_step_too_long_is_a_fault_of_the_next_one(folder: Path) -> None:
    fault = Fault.load(folder / "steep")
    assert fault is not None
    assert fault.step == 2
    assert not (folder / "steep" / "checkpoints").exists() or not any((folder / "steep" / "checkpoints").iterdir())


@pytest.mark.parametrize("name", ["lora", "lora 3"])
def test_adapters_learn_and_the_export_is_an_ordinary_model_that_holds_them(folder: Path, name: str) -> None:
    lines = metrics(folder, name)
    assert lines[-1]["loss"] < lines[0]["loss"]
    before, after = (
        dict(load(str(start), False, False).named_parameters())
        for start in (folder / "start", folder / name / loop.WEIGHTS)
    )
    assert before.keys() == after.keys()
    changed = {key.split(".")[-2] for key, value in after.items() if not torch.equal(value, before[key])}
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert changed == (linear if name == "lora" else {"q_proj", "down_proj"})


def test_the_merged_export_loses_what_the_model_with_adapters_lost(folder: Path) -> None:
    last = metrics(folder, "lora")[-1]["validation"]
    found = model_losses(folder / "lora" / loop.WEIGHTS, Rows(folder / "lora" / "validation"))
    assert last["loss"] == pytest.approx(found["all"], rel=1e-4)


def test_a_stopped_run_goes_on_from_its_checkpoint_with_what_stopping_knew(folder: Path) -> None:
    from train.checkpoints import latest

    found = latest(folder / "patient")
    assert found is not None
    stopping = Stopping(ValidationConfig(share=0.3, patience=2))
    stopping.restore(found.state["stopping"])
    assert stopping.is_over
