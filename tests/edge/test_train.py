"""Training with two real DeepSpeed workers on a local Ray: it learns, survives a killed worker, and exports a model.

One uninterrupted run is compared with a plain PyTorch loop in this process, and with a run whose worker is killed
half-way and which is then resumed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sprint.card import Instruction, Method, ModelCard
from sprint.config import validate
from sprint.errors import ConfigError, InputError, SprintError
from sprint.files import read_json, read_jsonl
from sprint.render import trajectory_text
from sprint.types import Execution, Round, Trajectory
from tests.edge.killing import deadly, make_plan
from tests.edge.learning import write_beginning
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
    write_beginning(folder, rows)
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
    """An uninterrupted run that looks at what it has learned now and then, and what it said."""
    said: list[str] = []
    check = {"every": 4, "task": "countdown", "problems": 2, "max_tokens": 24}
    settings = config(folder, "reference", check=check)
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
    assert summary.smoke
    assert any(line.startswith("smoke generation: ") for line in said)
    card = (summary.export / "README.md").read_text(encoding="utf-8")
    assert read_json(settings.folder / "rows" / "info.json")["fingerprint"] in card


def test_a_check_is_told_and_changes_nothing(reference: tuple[TrainConfig, TrainSummary, list[str]]) -> None:
    """That it changes nothing is what the other tests say: they compare this run with others that do not check."""
    settings, _, said = reference
    found = {line["step"]: line["check"] for line in read_jsonl(settings.folder / "metrics.jsonl") if "check" in line}
    assert sorted(found) == [4, 8]
    assert all(check["problems"] == 2 and check["generated_tokens"] > 0 for check in found.values())
    assert sum("format 0%, right 0%" in line for line in said) == 2


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


@pytest.fixture(scope="module")
def killed(folder: Path, ray: None) -> TrainConfig:
    """A run that stops at the death of a worker; and the same under another name."""
    settings = config(folder, "killed")
    plan = make_plan(folder / "plan", {KILLED_AT: 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_train_on_worker", deadly(plan))
        with pytest.raises(SprintError, match="training killed failed"):
            driver.train(settings, lambda line: None)
    assert not list(plan.iterdir())
    shutil.copytree(settings.folder, settings.folder.with_name("fewer"))
    told = settings.folder.with_name("fewer") / "config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"name": "fewer"}))
    return settings


def test_a_killed_run_resumes_as_if_it_had_not_been(
    folder: Path, killed: TrainConfig, reference: tuple[TrainConfig, TrainSummary, list[str]]
) -> None:
    settings = killed
    assert not settings.export_folder.exists()
    with pytest.raises(ConfigError, match=r"already exists .* give resume"):
        driver.train(settings, lambda line: None)
    with pytest.raises(ConfigError, match="was begun with seed = 0"):
        driver.train(config(folder, "killed", resume=True, seed=1), lambda line: None)
    summary = driver.train(config(folder, "killed", resume=True), lambda line: None)
    assert losses(settings) == losses(reference[0])
    assert summary.supervised_tokens == reference[1].supervised_tokens


@pytest.mark.slow
def test_a_run_goes_on_with_fewer_workers(
    folder: Path, killed: TrainConfig, reference: tuple[TrainConfig, TrainSummary, list[str]]
) -> None:
    with pytest.raises(ConfigError, match=r"takes \d+ rows a step, .* expected accumulation=2"):
        driver.train(config(folder, "fewer", resume=True, workers=1), lambda line: None)
    said: list[str] = []
    settings = config(folder, "fewer", resume=True, workers=1, accumulation=2)
    driver.train(settings, said.append)
    assert f"going on with fewer after step {KILLED_AT}" in said
    assert "converting its checkpoint of 2 workers for 1" in said
    assert losses(settings)[:KILLED_AT] == losses(reference[0])[:KILLED_AT]
    assert losses(settings) == pytest.approx(losses(reference[0]), rel=1e-3)  # Muon's products are rounded to bf16


def test_the_export_loads_and_is_what_was_trained(reference: tuple[TrainConfig, TrainSummary, list[str]]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings, summary, _ = reference
    assert ModelCard.load(summary.export) == ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    tokenizer = AutoTokenizer.from_pretrained(summary.export)
    model = AutoModelForCausalLM.from_pretrained(summary.export).eval()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size >= len(tokenizer)
    ids = torch.tensor([tokenizer.encode("3+4?\n<think>\n")])
    [checkpoint] = sorted(settings.folder.glob(f"checkpoints/step-*{STEPS}/engine/mp_rank_00_model_states.pt"))
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
