"""Training with two real DeepSpeed workers on a local Ray: it learns, survives a killed worker, and exports a model.

One uninterrupted run is compared with a plain PyTorch loop in this process, and with a run whose worker is killed
half-way and which is then resumed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch

from sprint.card import Instruction, Method, ModelCard
from sprint.config import validate
from sprint.errors import ConfigError, InputError, SprintError
from sprint.render import trajectory_text
from sprint.types import Execution, Round, Trajectory
from train import run as driver
from train.config import TrainConfig, TrainSummary
from train.data import Order, Rows
from train.models import SupervisedLoss, load, prepare
from train.optim import is_hidden_matrix, rate_factor

STEPS, KILLED_AT = 9, 6


def example(i: int) -> dict[str, object]:
    a, b = i % 7, i % 5
    plan = f"<prompt_1.1> add {a} {b} </prompt_1.1>\n<prompt_1.2> add {b} {a} </prompt_1.2>"
    rounds = (Round(plan, (Execution(f"{a}+{b}={a + b}"), Execution(f"{b}+{a}={a + b}"))),)
    text = trajectory_text(Trajectory(rounds, f"\\boxed{{{a + b}}}"))
    return {"id": str(i), "question": f"{a}+{b}?", "method": "sprint", "text": text}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated set and a model to start from."""
    folder = tmp_path_factory.mktemp("train")
    rows = [example(i) for i in range(24)]
    (folder / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "data" / "part.parquet")
    prepare([f"{row['question']}{row['text']}" for row in rows], folder / "start")
    return folder


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray for all runs, so that it starts once."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    root = str(Path(__file__).parents[2])
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
    )
    yield
    ray.shutdown()


def config(folder: Path, name: str, **values: object) -> TrainConfig:
    here = Path(os.path.relpath(folder))  # as people type it; workers run in a folder of their own
    settings: dict[str, object] = {
        "data": here / "data",
        "start": str(here / "start"),
        "out": here / "runs",
        "name": name,
        "instruction": "none",
        "task": "sums",
        "optimizer": "muon",
        "learning_rate": 3e-3,
        "precision": "fp32",
        "batch_tokens": 200,
        "max_steps": STEPS,
        "log_every": 1,
        "checkpoint_every": 3,
    }
    return validate(TrainConfig, settings | values, "options")


def losses(config: TrainConfig) -> list[float]:
    lines = (config.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def reference(folder: Path, ray: None) -> tuple[TrainConfig, TrainSummary, list[str]]:
    """An uninterrupted run, and what it said."""
    said: list[str] = []
    settings = config(folder, "reference")
    return settings, driver.train(settings, said.append), said


def test_the_loss_falls_and_the_summary_tells(reference: tuple[TrainConfig, TrainSummary, list[str]]) -> None:
    settings, summary, said = reference
    found = losses(settings)
    assert len(found) == summary.steps == STEPS
    assert found[-1] < 0.7 * found[0]
    assert summary.final_loss == found[-1]
    assert (summary.method, summary.examples, summary.dropped) == ("sprint", 24, 0)
    assert 0 < summary.supervised_tokens < summary.tokens
    assert sum(f"/{STEPS}  loss" in line for line in said) == STEPS


def plain_losses(settings: TrainConfig) -> list[float]:
    """The same training in one process: torch's own Muon and AdamW, no workers, no DeepSpeed."""
    rows = Rows(settings.folder / "rows")
    micro = max(1, round(settings.batch_tokens / rows.info.row_tokens))
    order = Order(len(rows), micro, 1, settings.workers, settings.seed)
    model = SupervisedLoss(load(settings.start, False, False), autocast=False)
    hidden = [p for name, p in model.named_parameters() if is_hidden_matrix(name, p)]
    rest = [p for name, p in model.named_parameters() if not is_hidden_matrix(name, p)]
    muon = torch.optim.Muon(hidden, lr=settings.muon_learning_rate, weight_decay=settings.muon_weight_decay)
    adamw = torch.optim.AdamW(rest, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), weight_decay=0.0)
    peaks = [(group, group["lr"]) for optimizer in (muon, adamw) for group in optimizer.param_groups]
    found = []
    for step in range(STEPS):
        for group, peak in peaks:
            group["lr"] = peak * rate_factor(settings, step, STEPS)
        indices = order.step_rows(step)
        batch = {name: torch.from_numpy(array).long() for name, array in rows.take(indices).items()}
        loss = model(batch, plain=False) / int(rows.supervised[indices].sum())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimizer in (muon, adamw):
            optimizer.step()
            optimizer.zero_grad()
        found.append(float(loss.detach()))
    return found


def test_two_workers_do_what_one_plain_loop_does(reference: tuple[TrainConfig, TrainSummary, list[str]]) -> None:
    settings, _, _ = reference
    assert losses(settings) == pytest.approx(plain_losses(settings), rel=5e-3)


def dying() -> Any:
    """A training function in which one worker is killed before a step; nested, so that it travels by value."""

    def function(settings: dict[str, Any]) -> None:
        import os
        import signal

        import train.loop

        step = train.loop._Trainer._optimizer_step

        def fatal_step(self: Any) -> None:
            if self.step == 6 and self.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            step(self)

        train.loop._Trainer._optimizer_step = fatal_step  # type: ignore[method-assign]
        train.loop.worker(settings["job"])

    return function


def test_a_killed_run_resumes_as_if_it_had_not_been(
    folder: Path, reference: tuple[TrainConfig, TrainSummary, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(folder, "killed")
    with monkeypatch.context() as patch:
        patch.setattr(driver, "_train_on_worker", dying())
        with pytest.raises(SprintError, match="training killed failed"):
            driver.train(settings, lambda line: None)
    assert not settings.export_folder.exists()
    with pytest.raises(ConfigError, match=r"already exists .* give resume"):
        driver.train(settings, lambda line: None)
    with pytest.raises(ConfigError, match="was begun with seed = 0"):
        driver.train(config(folder, "killed", resume=True, seed=1), lambda line: None)
    summary = driver.train(config(folder, "killed", resume=True), lambda line: None)
    assert losses(settings) == losses(reference[0])
    assert summary.supervised_tokens == reference[1].supervised_tokens


def test_the_export_loads_and_is_what_was_trained(reference: tuple[TrainConfig, TrainSummary, list[str]]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings, summary, _ = reference
    assert ModelCard.load(summary.export) == ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    tokenizer = AutoTokenizer.from_pretrained(summary.export)
    model = AutoModelForCausalLM.from_pretrained(summary.export).eval()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size >= len(tokenizer)
    ids = torch.tensor([tokenizer.encode("3+4?\n<think>\n")])
    [checkpoint] = sorted(settings.folder.glob(f"checkpoint_*/engine/global_step{STEPS}/mp_rank_00_model_states.pt"))
    weights = torch.load(checkpoint, weights_only=False)["module"]
    trained = load(settings.start, False, False).eval()
    trained.load_state_dict({name.removeprefix("lm."): value for name, value in weights.items()})
    with torch.no_grad():
        assert torch.equal(model(ids).logits, trained(ids).logits)


def test_nothing_is_written_when_the_start_does_not_fit(folder: Path) -> None:
    broken = folder / "broken"
    prepare(["text"], broken)
    settings = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(settings | {"vocab_size": 64}))
    with pytest.raises(ConfigError, match="tokens, its model only 64"):
        driver.train(config(folder, "unfit", start=str(broken)))
    with pytest.raises(ConfigError, match="no model could be read"):
        driver.train(config(folder, "unfit", start=str(folder / "nowhere")))
    with pytest.raises(InputError, match="row_tokens is too small"):
        driver.train(config(folder, "unfit", row_tokens=16))
    assert not (folder / "runs" / "unfit").exists()


def test_the_switch_that_keeps_deepspeed_from_compiling_is_still_there() -> None:
    import deepspeed.ops

    assert "deepspeed_shm_comm" in deepspeed.ops.__compatible_ops__
