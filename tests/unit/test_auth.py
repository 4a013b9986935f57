"""Keys: where they come from, whose they are, and that none is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.api.auth import load_keys
from serve_app.api.failures import Unauthorized
from serve_app.api.http_config import HttpConfig
from sprint.errors import ConfigError

FILE = """
# who may ask
alice: sk-1
bob:sk:2 # with a colon of its own
sk#3
"""


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(FILE)
    return path


def test_a_key_names_its_holder(keys_file: Path) -> None:
    keys = load_keys(HttpConfig(keys_file=keys_file))
    assert keys is not None
    assert keys.holder("Bearer sk-1") == "alice"
    assert keys.holder("bearer  sk:2 ") == "bob"
    assert keys.holder("Bearer sk#3") == "key-5"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "sk-1", "Basic sk-1", "Bearer sk-", "Bearer sk-11", "Bearer alice", "Bearer é"],
)
def test_anything_else_is_refused(keys_file: Path, header: str | None) -> None:
    keys = load_keys(HttpConfig(keys_file=keys_file))
    assert keys is not None
    with pytest.raises(Unauthorized):
        keys.holder(header)


def test_keys_are_read_from_the_environment_too(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEYS", "carol:sk-4,sk-5")
    keys = load_keys(HttpConfig(keys_file=keys_file, keys_env="THE_KEYS"))
    assert keys is not None
    assert [keys.holder(f"Bearer {key}") for key in ("sk-1", "sk-4", "sk-5")] == ["alice", "carol", "key-2"]


def test_a_comma_in_a_comment_makes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEYS", "alice:sk-1, sk#2 # shared with bob, carol\n# dave, erin\nsk-3,#frank, grace")
    keys = load_keys(HttpConfig(keys_env="THE_KEYS"))
    assert keys is not None
    assert keys.holder("Bearer sk-1") == "alice"
    assert {keys.holder(f"Bearer {key}") for key in ("sk#2", "sk-3")}.isdisjoint({"alice"})
    for other in ("bob", "carol", "dave", "erin", "frank", "grace", "#frank"):
        with pytest.raises(Unauthorized):
            keys.holder(f"Bearer {other}")


def test_no_source_means_no_keys() -> None:
    assert load_keys(HttpConfig()) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [("", "holds no key"), ("# nobody\n", "holds no key"), ("a:\n", "line 1: expected KEY"), ("a b", "without blanks")],
)
def test_a_source_without_keys_never_opens_the_door(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ConfigError, match=part):
        load_keys(HttpConfig(keys_file=path))


def test_a_source_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the keys"):
        load_keys(HttpConfig(keys_file=tmp_path / "none"))
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE is not set"):
        load_keys(HttpConfig(keys_env="NOT_SET_ANYWHERE"))


def test_no_key_is_kept(keys_file: Path) -> None:
    keys = load_keys(HttpConfig(keys_file=keys_file))
    assert keys is not None
    assert "sk-1" not in repr(vars(keys))
