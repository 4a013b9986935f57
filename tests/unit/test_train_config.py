"""Laws of the training configuration, the learning rate and the checks made before anything runs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprint.config import load_config, validate
from sprint.errors import ConfigError, InputError
from train.config import TrainConfig, recipe
from train.optim import rate_factor
from train.progress import progress_line
from train.reading import COLUMNS, read_curated


def config(**values: object) -> TrainConfig:
    return validate(TrainConfig, {"data": "data", "name": "run"} | values, "options")


def write(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "part.parquet")
    return folder


def row(**values: object) -> dict[str, object]:
    return dict.fromkeys(COLUMNS, "x") | {"method": "rft"} | values


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"learning_rat": 1}, "unknown key 'learning_rat'"),
        ({"optimizer": "sgd"}, "'optimizer' is 'sgd'"),
        ({"zero_stage": 4}, "'zero_stage' is 4"),
        ({"epochs": 0}, "'epochs' is 0"),
        ({"workers": "many"}, "'workers' is 'many'"),
        ({"name": "a/b"}, "plain folder name"),
        ({"layout": "round"}, "'layout' is 'round'"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**values)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_shipped_recipe_is_valid() -> None:
    folder = recipe("chains").parent
    for path in folder.glob("*.yaml"):
        load_config(TrainConfig, recipe(path.stem), {"data": "data", "name": "run"})


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'nothing', expected one of: .*chains"):
        recipe("nothing")


def test_a_missing_data_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_curated(tmp_path / "nowhere")


def test_a_folder_without_parquet_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.parquet file"):
        read_curated(tmp_path)


def test_a_broken_parquet_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="not readable as Parquet"):
        read_curated(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{name: "x" for name in COLUMNS if name != "text"}]
    with pytest.raises(InputError, match="no column 'text'"):
        read_curated(write(tmp_path / "set", rows))


@pytest.mark.parametrize("value", ["", None, 3])
def test_a_field_without_text_names_its_row(tmp_path: Path, value: object) -> None:
    rows = [row(text=value)]
    with pytest.raises(InputError, match="row 1: column 'text'"):
        read_curated(write(tmp_path / "set", rows))


def test_an_empty_set_is_an_error(tmp_path: Path) -> None:
    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    pyarrow.parquet.write_table(schema.empty_table(), tmp_path / "part.parquet")
    with pytest.raises(InputError, match="at least one row"):
        read_curated(tmp_path)


@pytest.mark.parametrize("methods", [["sprint", "rft"], ["magic"]])
def test_all_rows_have_one_known_method(tmp_path: Path, methods: list[str]) -> None:
    with pytest.raises(InputError, match="expected one of sprint, rft in all rows"):
        read_curated(write(tmp_path / "set", [row(method=method) for method in methods]))


@given(st.integers(2, 500), st.integers(0, 50), st.sampled_from(["cosine", "linear", "constant"]), st.floats(0, 1))
def test_the_rate_warms_up_stays_within_its_peak_and_never_rises_again(
    steps: int, warmup: int, schedule: str, final: float
) -> None:
    settings = config(schedule=schedule, warmup_steps=warmup, final_rate=final)
    factors = [rate_factor(settings, step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert all(a >= b - 1e-12 for a, b in pairwise(factors[warmup:]))


def test_a_progress_line_says_step_loss_speed_and_time_left() -> None:
    line = {"step": 10, "steps": 40, "loss": 1.5, "tokens_per_s": 12345.6, "seconds": 20.0}
    assert progress_line(line) == "  step 10/40  loss 1.5000  12,346 tokens/s  1:00 left"
