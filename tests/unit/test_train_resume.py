"""What a run may be gone on with, and what its model's card tells. No Ray, no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sprint.card import Instruction, Method, ModelCard
from sprint.config import validate
from sprint.errors import ConfigError, SprintError
from sprint.render import Prompter
from sprint.tokenizer import HFTokenizer
from train.card import data_hash, readme
from train.config import TrainConfig
from train.data import RowsInfo
from train.export import finish
from train.reading import Curated
from train.resume import SETTINGS, begin, check_name, keep_settings, keep_steps, make_ready
from train.smoke import Smoke, generate


def config(out: Path, **values: object) -> TrainConfig:
    return validate(TrainConfig, {"data": "data", "name": "run", "out": out, **values}, "options")


def begun(out: Path, **values: object) -> TrainConfig:
    first = config(out, **values)
    begin(first)
    keep_steps(first, micro_rows=2, steps=10)
    return first


def test_a_used_name_goes_on_only_when_asked_to(tmp_path: Path) -> None:
    check_name(config(tmp_path))
    begun(tmp_path)
    with pytest.raises(ConfigError, match=r"already exists .* give resume"):
        check_name(config(tmp_path))
    check_name(config(tmp_path, resume=True))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ConfigError, match="is not a training run"):
        check_name(config(tmp_path, name="other"))


@pytest.mark.parametrize(
    "values", [{"seed": 1}, {"learning_rate": 1.0}, {"zero_stage": 2}, {"lora": {"rank": 4}}, {"layout": "flat"}]
)
def test_what_would_change_the_result_is_refused(tmp_path: Path, values: dict[str, object]) -> None:
    begun(tmp_path)
    with pytest.raises(ConfigError, match=f"was begun with {next(iter(values))} = .* expected the same, found"):
        check_name(config(tmp_path, resume=True, **values))


@pytest.mark.parametrize(
    "values",
    [{"max_failures": 3}, {"keep_checkpoints": 5}, {"log_every": 1}, {"smoke": False}, {"threads": 2}, {"workers": 1}],
)
def test_what_would_not_is_allowed(tmp_path: Path, values: dict[str, object]) -> None:
    begun(tmp_path)
    check_name(config(tmp_path, resume=True, **values))


def test_a_run_that_knew_fewer_options_goes_on_with_their_defaults(tmp_path: Path) -> None:
    path = begun(tmp_path).folder / SETTINGS
    settings = json.loads(path.read_text())
    for later in ("validation", "supervise", "lora"):
        del settings[later]
    path.write_text(json.dumps(settings))
    check_name(config(tmp_path, resume=True))
    with pytest.raises(ConfigError, match="supervise"):
        check_name(config(tmp_path, resume=True, supervise="all"))


@pytest.mark.parametrize(("workers", "accumulation", "micro_rows"), [(1, 2, 2), (4, 1, 1), (1, 1, 4), (2, 2, 1)])
def test_any_workers_take_the_same_rows_a_step(
    tmp_path: Path, workers: int, accumulation: int, micro_rows: int
) -> None:
    begun(tmp_path)  # two workers, two rows each
    keep_steps(config(tmp_path, workers=workers, accumulation=accumulation), micro_rows, steps=10)


@pytest.mark.parametrize(
    ("workers", "micro_rows", "cure"),
    [
        (1, 2, "expected accumulation=2 micro_rows=2"),
        (4, 2, "expected accumulation=1 micro_rows=1"),
        (3, 2, "expected a workers x accumulation x micro_rows that gives as many"),
    ],
)
def test_other_rows_a_step_are_refused_with_what_to_give(
    tmp_path: Path, workers: int, micro_rows: int, cure: str
) -> None:
    begun(tmp_path)
    with pytest.raises(ConfigError) as caught:
        keep_steps(config(tmp_path, workers=workers), micro_rows, steps=10)
    assert str(caught.value).startswith("resume: run 'run' takes 4 rows a step, found ")
    assert str(caught.value).endswith(cure)


def test_another_number_of_steps_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(ConfigError, match="was begun for 10 steps, found 20"):
        keep_steps(config(tmp_path), 2, steps=20)


def test_what_workers_keep_on_nvme_stays_theirs(tmp_path: Path) -> None:
    offload = {"optimizer": "nvme", "parameters": "cpu", "nvme": str(tmp_path)}
    first = begun(tmp_path, offload=offload, zero_stage=3)
    folder = first.folder / "checkpoints" / "step-00000004"
    folder.mkdir(parents=True)
    state = {"step": 4, "world": 2, "score": None, "state": {}, "files": {}}
    (folder / "state.json").write_text(json.dumps(state))
    said: list[str] = []
    make_ready(first, said.append)
    assert said == ["going on with run after step 4"]
    with pytest.raises(ConfigError, match="cannot be read by 1, expected workers=2"):
        make_ready(config(tmp_path, offload=offload, zero_stage=3, workers=1), said.append)


def test_the_settings_last_checked_are_the_ones_remembered(tmp_path: Path) -> None:
    begun(tmp_path)
    other = config(tmp_path, log_every=7)
    begin(other)
    assert json.loads((other.folder / SETTINGS).read_text())["log_every"] == 20
    keep_settings(other)
    assert json.loads((other.folder / SETTINGS).read_text())["log_every"] == 7


# --- the card --------------------------------------------------------------------------------------------------------

CURATED = Curated(("a", "b"), ("1+1?", "2+2?"), ("two", "four"), Method.SPRINT)


def card_text(out: Path, **values: object) -> str:
    fields: dict[str, Any] = dict.fromkeys(RowsInfo.__dataclass_fields__, 3) | {"fingerprint": "f00d"}
    info = RowsInfo(**fields)
    smoke = Smoke(5, 2, "## <b>|\n```", 0.1)
    metrics = {"loss": 0.123456789, "best | worst": "x | y", "losses": {"plan": 0.5}}
    model = ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    return readme(config(out, **values), model, CURATED, info, metrics, smoke)


def test_the_card_names_data_code_settings_and_results(tmp_path: Path) -> None:
    text = card_text(tmp_path, learning_rate=0.25)
    assert data_hash(CURATED) in text
    for told in (
        "f00d",
        "| sources |",
        "| torch |",
        '"learning_rate": 0.25',
        "| loss | 0.123457 |",
        "| losses: plan | 0.5 |",
    ):
        assert told in text
    assert text.startswith("---\nlibrary_name: transformers\n")
    assert "base_model" not in text


def test_the_card_holds_no_place_on_this_machine_and_shows_model_text_as_code(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    text = card_text(tmp_path, start=str(tmp_path / "base"), data=str(tmp_path / "set"))
    assert str(tmp_path) not in text
    assert "    ## <b>|\n    ```" in text
    assert "| best \\| worst | x \\| y |" in text
    assert 'base_model: "org/model"' in card_text(tmp_path, start="org/model")


def test_the_hash_of_the_data_changes_with_any_text() -> None:
    other = Curated(CURATED.ids, CURATED.questions, ("two", "Four"), CURATED.method)
    moved = Curated(("ab", ""), CURATED.questions, CURATED.texts, CURATED.method)
    assert len({data_hash(one) for one in (CURATED, other, moved)}) == 3


# --- the smoke generation --------------------------------------------------------------------------------------------


def test_an_export_is_asked_the_same_through_its_chat_template(tmp_path: Path) -> None:
    from train.models import prepare

    start = prepare(["1+1?two"], tmp_path / "start")
    before = HFTokenizer(start)
    card = ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    finish(start, before, card, tmp_path / "model", lambda draft: "a card")
    after = HFTokenizer(tmp_path / "model")
    assert after.hf.chat_template
    assert not before.hf.chat_template
    for question in ("1+1?", " two\nlines \n", "{{ braces }}"):
        assert Prompter(after, card).question_ids(question) == Prompter(before, card).question_ids(question)


def test_nothing_is_put_in_place_when_the_model_does_not_write(tmp_path: Path) -> None:
    from train.models import prepare

    start = prepare(["1+1?two"], tmp_path / "start")
    card = ModelCard(Method.SPRINT, Instruction.NONE, "sums")
    finish(start, HFTokenizer(start), card, tmp_path / "model", lambda draft: "the first")

    def fail(draft: Path) -> str:
        assert (draft / "tokenizer.json").exists()
        raise SprintError("it wrote nothing")

    with pytest.raises(SprintError, match="it wrote nothing"):
        finish(start, HFTokenizer(start), card, tmp_path / "model", fail)
    assert (tmp_path / "model" / "README.md").read_text() == "the first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "start"]


def test_a_model_that_does_not_load_whole_or_writes_no_numbers_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from train.models import prepare

    folder = prepare(["1+1?two"], tmp_path / "model")
    assert generate(folder, "1+1?").new_tokens > 0
    whole = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(whole | {name: whole[name] * float("nan")}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SprintError, match="logits are not finite"):
        generate(folder, "1+1?")
    save_file({key: value for key, value in whole.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(SprintError, match=f"missing keys, {name} first"):
        generate(folder, "1+1?")
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(SprintError, match="the exported model does not load: ") as caught:
        generate(folder, "1+1?")
    assert "\n" not in str(caught.value)
