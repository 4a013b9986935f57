"""What the ablation makes of its runs: shares, means over seeds with Student's intervals, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablation import ARMS, _over_seeds, _plan, _table
from sprint.errors import InputError


def run(arm: str, seed: int, right: int) -> dict[str, Any]:
    rows = [
        {"grade": "correct" if n < right else "wrong_value", "well_formed": n > 0, "sequential_tokens": 100 + seed}
        | {"generated_tokens": 300}
        for n in range(10)
    ]
    return {"arm": arm, "seed": seed, "epochs": 2.0, "training": {"final_loss": 0.1}, "rows": rows}


def test_means_over_seeds_have_students_interval() -> None:
    runs = [run("exact", seed, right) for seed, right in enumerate((7, 8, 9))]
    found = _over_seeds(ARMS[0], [*runs, run("flat", 0, 1)])
    assert (found["seeds"], found["right"][:2]) == (3, [24, 30])
    assert found["accuracy"]["mean"] == pytest.approx(0.8)
    assert found["accuracy"]["half"] == pytest.approx(0.2484, abs=1e-4)  # scipy.stats.t.interval(0.95, 2, 0.8, sem)
    assert found["sequential_tokens"]["mean"] == 101
    assert _over_seeds(ARMS[1], [run("flat", 0, 1)])["accuracy"] == {"mean": 0.1, "half": None}


def test_the_table_has_a_line_for_each_arm() -> None:
    runs = [run(arm.name, seed, 5) for arm in ARMS for seed in range(2)]
    plan = {"traces": 5, "tokens": 1000, "seeds": 2, "problems": 10}
    table = _table({"plan": plan, "arms": [_over_seeds(arm, runs) for arm in ARMS]})
    assert [line.split(" | ")[0] for line in table.splitlines()[4:]] == [f"| {arm.name}" for arm in ARMS]
    assert "10/20 [29.9%, 70.1%]" in table


def test_a_begun_ablation_goes_on_only_when_told_and_with_the_same_settings(tmp_path: Path) -> None:
    words = ["--out", str(tmp_path), "--traces", "20"]
    _plan(words)
    with pytest.raises(InputError, match="go on with --resume"):
        _plan(words)
    assert _plan([*words, "--resume", "--seeds", "5"]).seeds == 5
    with pytest.raises(InputError, match="begun with other settings"):
        _plan(["--out", str(tmp_path), "--traces", "30", "--resume"])
