"""Where a training run writes, what it never overwrites, and what it refuses or says before it begins. No training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from sprint.config import validate
from sprint.errors import ConfigError, InputError, SprintError
from sprint.files import read_json, write_json
from sprint.locks import sole_writer_in
from train import run as driver
from train.closing import exported
from train.config import TrainConfig
from train.dryrun import dry_run
from train.faults import Fault
from train.files import put_folder
from train.loop import WEIGHTS, _Trainer
from train.models import check_start, load, prepare
from train.options import Attention, LoraConfig
from train.reading import read_curated
from train.refusals import check_room, check_settings
from train.resume import check_name
from train.validation import BEST, split

TEXT = "<think>\n1+1=2\n\n\\boxed{2}\n</think>"


def config(folder: Path, **values: object) -> TrainConfig:
    settings = {"data": folder / "data", "name": "run", "out": folder / "runs", **values}
    return validate(TrainConfig, settings, "options")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model folder."""
    return prepare([TEXT, "0123456789+=?"], tmp_path_factory.mktemp("start") / "small")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a curated set of sequential examples, of very different lengths."""
    write_data(tmp_path, 12)
    return tmp_path


def write_data(folder: Path, examples: int) -> None:
    rows = [
        {"id": f"t{i}", "question": f"{i}+1?", "method": "rft", "text": TEXT.replace("1+1=2", "1+1=2 " * (1 + i))}
        for i in range(examples)
    ]
    (folder / "data").mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "data" / "part.parquet")


def begun(settings: TrainConfig) -> TrainConfig:
    curated = read_curated(settings.data)
    driver.make_rows(settings, curated, *split(curated, settings))
    return settings


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "export", ["runs/run", "runs", ".", "x/../runs/run", "runs/run/checkpoints", "runs/run/rows/x"]
)
def test_a_model_never_takes_the_place_of_its_run(tmp_path: Path, export: str) -> None:
    with pytest.raises(ConfigError, match="would take the place of the run's own files"):
        check_settings(config(tmp_path, export=tmp_path / export))


def test_a_model_never_takes_the_place_of_its_start(tmp_path: Path, start: Path) -> None:
    with pytest.raises(ConfigError, match="is the model to start from"):
        check_settings(config(tmp_path, start=str(start), export=start))


@pytest.mark.parametrize("name", ["out", "export"])
def test_where_nothing_can_be_written_nothing_begins(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"^{name}: nothing can be written to .*file, expected"):
        check_settings(config(tmp_path, **{name: tmp_path / "file" / "deeper"}))


def test_other_places_are_allowed(tmp_path: Path) -> None:
    for export in ("runs/run/model", "runs/other", "models/x"):
        check_settings(config(tmp_path, export=tmp_path / export))


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with put_folder(tmp_path / "link") as draft:
        (draft / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]


def test_the_best_weights_do_not_write_into_a_model_exported_before(tmp_path: Path) -> None:
    run = config(tmp_path, validation={"share": 0.1, "export": "best"})
    for name, text in ((BEST, "new"), (WEIGHTS, "old")):
        (run.folder / name).mkdir(parents=True)
        (run.folder / name / "model").write_text(text)
    exported_file = tmp_path / "exported"
    exported_file.hardlink_to(run.folder / WEIGHTS / "model")
    _Trainer._leave_weights(SimpleNamespace(config=run, rank=0))  # type: ignore[arg-type]
    assert exported_file.read_text() == "old"
    assert (run.folder / WEIGHTS / "model").read_text() == "new"


def test_a_run_has_one_driver(tmp_path: Path) -> None:
    again = sole_writer_in(tmp_path)
    with sole_writer_in(tmp_path), pytest.raises(SprintError, match="is being written by another run"):
        again.__enter__()
    with sole_writer_in(tmp_path):
        pass


def test_a_failed_beginning_leaves_nothing_that_looks_like_a_run(tmp_path: Path) -> None:
    settings = config(tmp_path)
    settings.folder.mkdir(parents=True)
    with suppress(InputError), driver._nothing_left_behind(settings.folder):
        driver.begin(settings)
        raise InputError("broken")
    check_name(settings)


# --- before ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"check": {"problems": 3}}, "check.problems does nothing without check.every"),
        ({"validation": {"keep": 3}}, "validation.keep does nothing without validation.share"),
        ({"offload": {"nvme": "x"}}, "offload.nvme does nothing without offload.optimizer = nvme"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path: Path, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_settings(config(tmp_path, **values))


def test_a_machine_that_will_never_have_what_workers_take_is_not_waited_for() -> None:
    check_room(2, {"CPU": 2.0}, {"CPU": 4.0})
    with pytest.raises(ConfigError, match=r"^workers: 2 workers take 2 GPU, but here are 0, expected fewer"):
        check_room(2, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 4.0})


def test_a_fault_that_nobody_told_does_not_stop_the_next_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(folder)
    begun(settings)
    Fault("loss", 3, (0,)).save(settings.folder)
    monkeypatch.setattr(driver, "ray_session", lambda cpus: driver.sole_writer_in(folder))
    monkeypatch.setattr(driver, "_cluster_resources", lambda: {"CPU": 8.0})
    monkeypatch.setattr(driver, "_fit", lambda job: None)
    monkeypatch.setattr(driver, "close", lambda *arguments: "closed")
    assert driver.train(config(folder, resume=True), lambda line: None) == "closed"  # type: ignore[comparison-overlap]


def test_what_begins_anew_although_it_was_to_go_on_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(driver, "ray_session", lambda cpus: driver.sole_writer_in(folder))
    monkeypatch.setattr(driver, "_cluster_resources", lambda: {"CPU": 8.0})
    monkeypatch.setattr(driver, "_fit", lambda job: None)
    monkeypatch.setattr(driver, "close", lambda *arguments: None)
    held = {"share": 0.4}
    driver.train(config(folder, resume=True, warmup_steps=99, validation=held, row_tokens=40), said.append)
    assert any("no checkpoint" in line and "begins at step 1" in line for line in said)
    assert any(line.startswith("warning: 99 warmup_steps are all of") for line in said)
    rows = read_json(config(folder).folder / "validation" / "info.json")
    assert rows["dropped"] > 0
    assert f"validating on {rows['examples']} examples held out, dropped {rows['dropped']} longer than a row" in said


# --- dry runs --------------------------------------------------------------------------------------------------------


def test_a_dry_run_refuses_what_the_run_would(folder: Path, start: Path) -> None:
    small = {"start": str(start), "dry_run": True, "smoke": False}
    with pytest.raises(ConfigError, match="check: unknown task 'nothing'"):
        dry_run(config(folder, **small, check={"every": 2, "task": "nothing"}), lambda line: None)
    begun(config(folder, start=str(start), micro_rows=2))
    goes_on = small | {"resume": True}
    dry_run(config(folder, **goes_on, micro_rows=2), lambda line: None)
    with pytest.raises(ConfigError, match="rows a step, found"):
        dry_run(config(folder, **goes_on, micro_rows=1), lambda line: None)
    write_data(folder, 11)
    with pytest.raises(ConfigError, match="no longer holds what 'run' began with"):
        dry_run(config(folder, **goes_on, micro_rows=2), lambda line: None)


def test_sequential_examples_are_estimated_without_branches(folder: Path, start: Path) -> None:
    values = {"start": str(start), "micro_rows": 1, "dry_run": True}
    exact, flat = (dry_run(config(folder, layout=layout, **values), lambda line: None) for layout in ("exact", "flat"))
    assert (exact.memory, exact.flops) == (flat.memory, flat.flops)


# --- after -----------------------------------------------------------------------------------------------------------


def test_the_card_tells_what_the_exported_weights_came_to(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"step": 1, "loss": 3.0}]
    lines += [
        {"step": step, "loss": 0.0, "validation": {"loss": loss}} for step, loss in ((2, 2.0), (3, 1.0), (4, 1.0))
    ]
    assert exported(config(tmp_path), lines)["step"] == 4
    assert exported(config(tmp_path, validation={"share": 0.1, "export": "best"}), lines)["step"] == 3


# --- models ----------------------------------------------------------------------------------------------------------


def test_adapters_are_put_where_they_learn(start: Path) -> None:
    from train.lora import adapt

    for targets, sentence in {
        ("lm_head",): "lm_head is not a linear layer within the model",
        ("q_proj", "embed_tokens"): "embed_tokens is not a linear layer within the model",
        ("q_proj", "nope"): "no linear layers called nope",
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            adapt(load(str(start), False, False, Attention.DENSE), LoraConfig(rank=2, targets=targets))


def test_a_model_that_does_not_say_its_context_is_refused(start: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "mamba", "vocab_size": 300})
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((start / file).read_bytes())
    with pytest.raises(ConfigError, match="does not say its vocabulary and context"):
        check_start(str(tmp_path))
