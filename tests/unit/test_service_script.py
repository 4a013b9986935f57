"""The script that the service's benchmark and its tests make engines follow."""

import json
from pathlib import Path

from benchmarks.service_metrics import summed, unfinished
from benchmarks.service_script import Script, key
from benchmarks.service_tables import quantile


def script(tmp_path: Path, **said: list[int]) -> Script:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({key([7, 8]): said["short"], key([7, 8, 9, 1]): said["longer"]}), encoding="utf-8")
    return Script(path)


def test_a_prompt_is_followed_by_what_the_script_says(tmp_path: Path) -> None:
    known = script(tmp_path, short=[1, 2, 3], longer=[4])
    assert known.after([7, 8]) == [1, 2, 3]
    assert known.after([7, 8, 9, 1]) == [4]
    assert known.after([8, 7]) is None


def test_a_call_that_is_taken_up_again_goes_on_where_it_was(tmp_path: Path) -> None:
    known = script(tmp_path, short=[1, 2, 3], longer=[4])
    assert known.after([7, 8, 1]) == [2, 3]
    assert known.after([7, 8, 1, 2, 3]) == []
    assert known.after([7, 8, 3]) is None


def test_metrics_are_summed_over_their_labels() -> None:
    page = '# HELP x y\nsprint_pool_running{pool="a"} 2.0\nsprint_pool_running{pool="b"} 1.0\nsprint_pool_waiting 0.0\n'
    numbers = summed(page) | {"sprint_rollouts_in_progress": 3.0, "sprint_requests_queued": 0.0}
    assert numbers["sprint_pool_running"] == 3.0
    assert unfinished(numbers) == 6.0


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile(range(200), 0.99) == 198
    assert quantile([], 0.5) is None
