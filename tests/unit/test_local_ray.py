"""Ray that does not come, in a sentence."""

from __future__ import annotations

import pytest

from sprint.errors import SprintError
from sprint.local_ray import ray_session


@pytest.mark.parametrize(
    ("address", "failure", "said"),
    [
        (
            "",
            Exception("The current node\ntimed out."),
            "Ray on this machine did not answer: The current node timed out",
        ),
        ("10.0.0.1:6379", ConnectionError("no GCS"), "the Ray at 10.0.0.1:6379 did not answer: no GCS"),
    ],
)
def test_a_ray_that_does_not_come_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, address: str, failure: Exception, said: str
) -> None:
    ray = pytest.importorskip("ray")

    def init(**_: object) -> None:
        raise failure

    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SprintError, match=said), ray_session():
        pass


def test_a_mistake_of_ours_is_no_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(**_: object) -> None:
        raise ValueError("no such option")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ValueError, match="no such option"), ray_session():
        pass
