"""Laws of estimates: counts are those of real models, activations what autograd keeps, verdicts say what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from sprint.config import load_config, validate
from sprint.errors import ConfigError, SprintError
from sprint.files import read_json, write_json
from sprint.render import trajectory_text
from sprint.types import Execution, Round, Trajectory
from train.config import TrainConfig, recipe
from train.data import RowsInfo
from train.dryrun import dry_run
from train.estimate import estimate
from train.memory import Batch, memory_of
from train.models import prepare
from train.shape import Shape, shape_of

RECIPES = sorted(path.stem for path in recipe("chains").parent.glob("*.yaml"))
QWEN_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
QWEN_1_5B = QWEN_7B | {
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
}
SHAPES = {"deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": QWEN_7B, "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": QWEN_1_5B}
SMALL: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
MODELS = {
    "qwen2, tied": Qwen2Config(**SMALL, num_key_value_heads=4, tie_word_embeddings=True),
    "qwen2, grouped": Qwen2Config(**SMALL, num_key_value_heads=2, tie_word_embeddings=False),
    "llama": LlamaConfig(**SMALL, num_key_value_heads=2, tie_word_embeddings=False),
}
INFO = RowsInfo(100, 2048, 300, 0, 2000, "", tokens=200_000, supervised_tokens=120_000)
GIB, EXAMPLES = 2**30, 120


def config(**values: object) -> TrainConfig:
    return validate(TrainConfig, {"data": "data", "name": "run"} | values, "options")


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_counted_as_the_model_has_them(name: str) -> None:
    model = AutoModelForCausalLM.from_config(MODELS[name])
    shape = shape_of(MODELS[name], config())
    assert shape.parameters == shape.trainable == sum(p.numel() for p in model.parameters())
    assert shape.head == model.lm_head.weight.numel()


def test_a_7b_model_has_its_published_number_of_parameters() -> None:
    assert shape_of(Qwen2Config(**QWEN_7B), config(precision="bf16")).parameters == 7_615_616_512


def test_adapters_are_what_learns() -> None:
    shape = shape_of(MODELS["qwen2, grouped"], config(start="x", lora={"rank": 4, "targets": ["q_proj", "down_proj"]}))
    assert shape.trainable == 3 * 4 * ((64 + 64) + (160 + 64))


def kept(model: Any, tokens: int, autocast: bool) -> int:
    """Bytes that autograd keeps of a pass through the layers, parameters and mask not counted."""
    mask = torch.zeros(1, 1, tokens, tokens, dtype=torch.bfloat16 if autocast else model.dtype)
    own = {tensor.untyped_storage().data_ptr() for tensor in (mask, *model.parameters())}
    found: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    precision = torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), precision:
        model.model(input_ids=ids, attention_mask=mask, position_ids=torch.arange(tokens)[None], use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in found.items() if key not in own)


@pytest.mark.parametrize("precision", ["fp32", "autocast", "bf16"])
def test_activations_are_what_autograd_keeps(precision: str) -> None:
    settings, tokens = config(precision=precision), 200
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_config(MODELS["qwen2, grouped"], dtype=dtype).train()
    shape = shape_of(MODELS["qwen2, grouped"], settings)
    expected = (shape.layers * shape.layer_bytes + shape.other_bytes) * tokens + shape.cast_bytes
    assert kept(model, tokens, precision == "autocast") == pytest.approx(expected, rel=0.02)


# --- memory ----------------------------------------------------------------------------------------------------------

BIG = Shape(
    parameters=7 * 10**9, trainable=7 * 10**9, hidden=6 * 10**9, body=6 * 10**9, head=5 * 10**8, vocabulary=152064,
    layers=28, width=3584, attention=3584, layer_bytes=238e3, other_bytes=22e3, cast_bytes=0.0,
)  # fmt: skip
GPU: dict[str, object] = {"use_gpu": True, "precision": "bf16", "workers": 8, "estimate": {"device": "H100"}}


def total(**values: object) -> float:
    return memory_of(config(**GPU | values), BIG, Batch(1, 8192, masked=True)).total


def test_what_is_split_over_more_workers_or_kept_elsewhere_takes_no_more_memory() -> None:
    stages = [total(zero_stage=stage, accumulation=2) for stage in range(4)]
    assert stages[0] > stages[2] > stages[3]
    assert stages[1] >= stages[2]
    for stage in (1, 2, 3):
        assert total(zero_stage=stage, workers=16) < total(zero_stage=stage)
        assert total(zero_stage=stage, offload={"optimizer": "cpu"}) < total(zero_stage=stage)
        assert total(zero_stage=stage, gradient_checkpointing=True) < total(zero_stage=stage)
    both = {"optimizer": "cpu", "parameters": "cpu"}
    assert total(zero_stage=3, offload=both) < total(zero_stage=3, offload={"optimizer": "cpu"})


def test_logits_of_a_whole_row_take_most_and_those_of_a_chunk_the_same_for_any_row() -> None:
    long = Batch(1, 32768, masked=True)
    assert memory_of(config(**GPU, cross_entropy="full"), BIG, long).parts["logits and loss"] > 50 * GIB
    chunked = [
        memory_of(config(**GPU, cross_entropy="chunked"), BIG, batch).parts["logits and loss"]
        for batch in (long, Batch(1, 8192, masked=True))
    ]
    assert chunked[0] == chunked[1] < 5 * GIB


# --- verdicts --------------------------------------------------------------------------------------------------------


def verdict(**values: object) -> str | None:
    settings = config(**GPU | {"workers": 1, "zero_stage": 1} | values)
    return estimate(settings, INFO, Qwen2Config(**QWEN_1_5B), micro_rows=4, steps=10).problem


def test_a_run_that_will_not_fit_is_told_in_one_sentence_what_would_make_it_fit() -> None:
    values: dict[str, object] = {"estimate": {"device": "H100", "memory_gib": 40}}
    problem = verdict(**values)
    assert problem is not None
    assert "of the 40.0 GiB" in problem
    assert "\n" not in problem
    assert "try gradient_checkpointing" in problem
    assert verdict(**values, gradient_checkpointing=True) is None


def test_what_no_setting_makes_fit_is_said_to_need_other_machines() -> None:
    problem = verdict(estimate={"device": "H100", "memory_gib": 4})
    assert problem is not None
    assert "expected more workers, larger devices or a smaller model" in problem


def test_time_follows_from_the_peak_and_the_assumed_share_of_it() -> None:
    def run(share: float, workers: int = 1) -> float:
        settings = config(**GPU | {"workers": workers, "estimate": {"device": "H100", "utilisation": share}})
        seconds = estimate(settings, INFO, MODELS["llama"], micro_rows=4 // workers, steps=10).seconds
        assert seconds is not None
        return seconds

    assert run(0.2) == pytest.approx(2 * run(0.4))
    assert run(0.4, workers=2) == pytest.approx(run(0.4) / 2)  # as many rows a step on twice the devices


def test_a_gpu_that_nobody_knows_is_an_error_naming_those_known() -> None:
    with pytest.raises(ConfigError, match=r"estimate.device is 'Abacus', expected one of: .*H100"):
        verdict(estimate={"device": "Abacus"})


# --- dry runs --------------------------------------------------------------------------------------------------------


def write(folder: Path, method: str, texts: list[str]) -> None:
    rows = [{"id": str(i), "question": f"{i}+1?", "method": method, "text": text} for i, text in enumerate(texts)]
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "part.parquet")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Curated sets of both methods, and a small model folder."""
    folder = tmp_path_factory.mktemp("sets")
    plans = [
        Trajectory((Round(f"<prompt_1.1> {i}+1 </prompt_1.1>", (Execution(f"{i}+1={i + 1}"),)),), f"\\boxed{{{i + 1}}}")
        for i in range(EXAMPLES)
    ]
    write(folder / "sprint", "sprint", [trajectory_text(plan) for plan in plans])
    write(folder / "rft", "rft", [f"<think>\n{i}+1={i + 1}\n\n\\boxed{{{i + 1}}}\n</think>" for i in range(EXAMPLES)])
    prepare([trajectory_text(plan) for plan in plans], folder / "small")
    return folder


def of_shape(small: Path, values: dict[str, Any], folder: Path) -> Path:
    """A model folder with a configuration of that shape and no weights."""
    folder.mkdir()
    for file in small.iterdir():
        if file.suffix == ".json" and file.name != "config.json":
            (folder / file.name).write_bytes(file.read_bytes())
    write_json(folder / "config.json", read_json(small / "config.json") | values | {"layer_types": None})
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_passes_a_dry_run_and_leaves_nothing_behind(sets: Path, tmp_path: Path, name: str) -> None:
    method = "rft" if name.startswith("rft") else "sprint"
    settings = load_config(TrainConfig, recipe(name), {"data": str(sets / method), "name": "run"})
    values: dict[str, object] = {"out": tmp_path / "runs"}
    if settings.start in SHAPES:
        values["start"] = str(of_shape(sets / "small", SHAPES[settings.start], tmp_path / "model"))
    if settings.use_gpu:
        values["estimate"] = settings.estimate.model_copy(update={"device": "H100"})
    said: list[str] = []
    found = dry_run(settings.model_copy(update=values), said.append)
    assert found.problem is None
    assert said[-1].startswith("it fits")
    assert (found.info.examples < EXAMPLES) == (settings.validation.share > 0)
    assert [path.name for path in tmp_path.iterdir()] == ["model"] * ("start" in values)


def test_a_dry_run_that_does_not_fit_ends_in_an_error_after_its_table(sets: Path, tmp_path: Path) -> None:
    settings = config(
        data=sets / "sprint", start=str(sets / "small"), out=tmp_path / "runs", estimate={"memory_gib": 0.1}
    )
    said: list[str] = []
    with pytest.raises(SprintError, match=r"run would take 0\.\d GiB of the 0\.1 GiB"):
        dry_run(settings, said.append)
    assert any("parameters" in line for line in said)
    assert list(tmp_path.iterdir()) == []
