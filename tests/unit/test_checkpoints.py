"""Laws of a run's checkpoints: which stay, which are passed over, what a failure leaves. One worker, a stub engine."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from sprint.errors import SprintError
from train.checkpoints import Checkpoints, best, discard_drafts, latest, whole_checkpoints
from train.universal import load_universal


class Engine:
    """What checkpoints ask of DeepSpeed's engine: it writes and reads one file."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.loaded = error, ""

    def save_checkpoint(self, folder: str, tag: str) -> None:
        (Path(folder) / tag).mkdir()
        (Path(folder) / tag / "weights.pt").write_text("weights of " + Path(folder).name)
        if self.error:
            raise self.error

    def load_checkpoint(self, folder: str, tag: str) -> tuple[str, object]:
        self.loaded = (Path(folder) / tag / "weights.pt").read_text()
        return folder, {}

    def zero_optimization(self) -> bool:
        return True


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def checkpoints(run: Path, keep: int = 2, keep_best: int = 0) -> Checkpoints:
    return Checkpoints(run, keep, keep_best, seed=0)


def steps(run: Path) -> list[int]:
    return [one.step for one in whole_checkpoints(run)]


@settings(max_examples=15)
@given(
    scores=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6),
    keep=st.integers(1, 3),
    keep_best=st.integers(0, 2),
)
def test_the_latest_and_the_best_stay_and_nothing_else(scores: list[float | None], keep: int, keep_best: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        for step, score in enumerate(scores, 1):
            checkpoints(run, keep, keep_best).save(Engine(), step, {}, score)
        ranked = sorted((score, step) for step, score in enumerate(scores, 1) if score is not None)
        newest = set(range(1, len(scores) + 1)[-keep:])
        assert set(steps(run)) == newest | {step for _, step in ranked[:keep_best]}
        lowest = best(run)
        assert not keep_best or (lowest.step if lowest else None) == (ranked[0][1] if ranked else None)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    engine = Engine()
    assert checkpoints(tmp_path).restore(engine) is None
    checkpoints(tmp_path).save(engine, 3, {"meter": [1, 0.5]}, score=0.25)
    assert checkpoints(tmp_path).restore(engine) == {"meter": [1, 0.5]}
    assert engine.loaded == "weights of step-00000003.part"
    found = latest(tmp_path)
    assert found is not None
    assert (found.step, found.world, found.score) == (3, 1, 0.25)


@pytest.mark.parametrize("harm", ["cut", "lost", "no state", "half a state", "another's state"])
def test_a_torn_checkpoint_is_never_gone_on_from(tmp_path: Path, harm: str) -> None:
    for step in (1, 2):
        checkpoints(tmp_path).save(Engine(), step, {"step": step})
    torn = tmp_path / "checkpoints" / "step-00000002"
    state = torn / "state.json"
    if harm == "cut":
        (torn / "engine" / "weights.pt").write_text("weig")
    elif harm == "lost":
        (torn / "random-00000.pt").unlink()
    elif harm == "no state":
        state.unlink()
    elif harm == "half a state":
        state.write_text(state.read_text()[:-20])
    else:
        state.write_text(json.dumps({"step": 2}))
    engine = Engine()
    assert checkpoints(tmp_path).restore(engine) == {"step": 1}
    assert engine.loaded == "weights of step-00000001.part"
    checkpoints(tmp_path).save(engine, 2, {"step": 2})  # and its place is free
    assert steps(tmp_path) == [1, 2]


def test_a_draft_is_no_checkpoint_and_goes(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(Engine(), 1, {})
    draft = tmp_path / "checkpoints" / "step-00000002.part"
    (draft / "engine").mkdir(parents=True)
    assert steps(tmp_path) == [1]
    discard_drafts(tmp_path)
    assert not draft.exists()
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), "not be written whole"),
    ],
)
def test_a_full_disk_is_one_sentence_and_leaves_what_was(tmp_path: Path, error: Exception, reason: str) -> None:
    with pytest.raises(SprintError, match=r"of step 1 could not be written .* there is none before it"):
        checkpoints(tmp_path).save(Engine(error), 1, {})
    checkpoints(tmp_path).save(Engine(), 1, {})
    with pytest.raises(SprintError) as caught:
        checkpoints(tmp_path).save(Engine(error), 2, {})
    assert reason in str(caught.value)
    assert str(caught.value).endswith("the one of step 1 is intact")
    assert "\n" not in str(caught.value)
    assert steps(tmp_path) == [1]


def test_other_errors_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        checkpoints(tmp_path).save(Engine(RuntimeError("Connection closed by peer")), 1, {})


def test_other_workers_are_told_the_command_that_converts(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(Engine(), 1, {})
    state = tmp_path / "checkpoints" / "step-00000001" / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"world": 2}))
    with pytest.raises(SprintError, match=f"run `python -m train.universal {tmp_path}` and resume"):
        checkpoints(tmp_path).restore(Engine())
    with pytest.raises(SprintError, match="written by other workers"):
        load_universal(Engine(), state.parent)
