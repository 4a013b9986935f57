"""Laws of what local inputs lead to: folders, globs and saved datasets, and one sentence where they lead nowhere."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipelines.inputs import sources
from sprint.errors import InputError
from tests.edge.inputs import ids_of, read, some_rows, write_arrow, write_dataset, write_jsonl

ROOT = Path(__file__).parents[2]


# --- folders and globs -----------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", "sub/deep/d.jsonl", "_tmp/e.jsonl", ".f.jsonl", "sub-2/g.jsonl"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, [{"id": path.stem}])
    (tmp_path / "tree" / "readme.txt").write_text("no input")
    return tmp_path / "tree"


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("", "a b c d g"),
        ("*.jsonl", "a b"),
        ("sub*", "c d g"),
        ("*/*.jsonl", "c g"),
        ("**/*.jsonl", "a b c d g"),
        ("sub/**", "c d"),
        ("**/deep/*", "d"),
        ("[ab].jsonl", "a b"),
        ("?.jsonl", "a b"),
        ("_tmp", "e"),
        ("_*/*", "e"),
        (".f.jsonl", ".f"),
    ],
)
def test_folders_and_globs_lead_to_files_in_the_order_of_their_names(tree: Path, pattern: str, ids: str) -> None:
    assert " ".join(ids_of(read([f"{tree}/{pattern}"]))) == ids


def test_a_file_that_several_inputs_lead_to_counts_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    found = sources.find(["b.jsonl", str(tree), tree.as_uri(), "sub/../a.jsonl"])
    assert [Path(source.uri).stem for source in found] == ["b", "a", "c", "d", "g"]


def test_names_are_taken_literally_before_they_are_patterns(tmp_path: Path) -> None:
    odd = write_jsonl(tmp_path / "a[1] ü?.jsonl", [{"id": "odd"}])
    write_jsonl(tmp_path / "a1 üx.jsonl", [{"id": "other"}])
    assert ids_of(read([str(odd), odd.as_uri()])) == ["odd"]


def test_links_are_followed(tree: Path) -> None:
    (tree.parent / "linked").symlink_to(tree / "sub")
    (tree.parent / "one.jsonl").symlink_to(tree / "a.jsonl")
    assert ids_of(read([f"{tree.parent}/linked", f"{tree.parent}/one.jsonl"])) == ["c", "d", "a"]


def test_a_fingerprint_changes_with_the_file_only(tree: Path) -> None:
    before = sources.find([str(tree)])
    assert sources.find([str(tree)]) == before
    write_jsonl(tree / "a.jsonl", some_rows(3))
    after = sources.find([str(tree)])
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True, True, True]
    assert after[0].size == (tree / "a.jsonl").stat().st_size


def test_a_saved_dataset_is_its_own_files_without_its_caches(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", some_rows(5))
    write_arrow(folder / "cache-0123.arrow", some_rows(2), 2, stream=True)
    assert ids_of(read([str(folder)])) == [f"r{i}" for i in range(5)]
    (folder / "data-00000-of-00001.arrow").rename(folder / "moved.arrow")
    with pytest.raises(InputError, match=r"state\.json lists data-00000-of-00001\.arrow, which is not there"):
        sources.find([str(folder)])


def test_a_dataset_with_splits_is_all_of_them_or_the_one_that_is_named(tmp_path: Path) -> None:
    import datasets

    splits = {name: datasets.Dataset.from_list([{"id": name}]) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "traces")
    assert ids_of(read([str(tmp_path / "traces")])) == ["test", "train"]
    assert ids_of(read([str(tmp_path / "traces" / "train")])) == ["train"]


# --- nowhere ---------------------------------------------------------------------------------------------------------


def _broken_files(folder: Path) -> None:
    (folder / "none").mkdir()
    (folder / "packed").mkdir()
    (folder / "packed" / "a.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    for name, text in {
        "a.csv": "id\n1\n",
        "a.parquet": "not parquet",
        "a.arrow": "not arrow at all",
        "blank.jsonl": "\n \n",
    }.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent.jsonl", "absent.jsonl does not exist"),
        ("lab/absent.jsonl", "absent.jsonl does not exist"),
        ("not/there/at/all", "does not exist"),
        ("*/*.parquet", r"leads to no \.jsonl, \.parquet or \.arrow file"),
        ("absent/*.jsonl", "leads to no"),
        ("none", "leads to no"),
        ("a.csv", r"a\.csv leads to no \.jsonl"),
        ("packed/a.jsonl.gz", "is compressed: unpack it or"),
        ("packed", r"leads to a\.jsonl\.gz, which is compressed"),
        ("a.parquet", r"a\.parquet is not readable as Parquet"),
        ("a.arrow", r"a\.arrow is not readable as Arrow"),
        ("blank.jsonl", "the inputs hold no rows"),
        ("ftp://host/a.jsonl", "has the scheme ftp://, expected"),
        ("s3://", "names no bucket"),
        ("hf://owner/name", "expected hf://datasets/owner/name"),
        ("lab/traces", "lab/traces is no local path, and as a dataset of the hub: .*offline"),
    ],
)
def test_inputs_that_lead_nowhere_give_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    _broken_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        sources.shards(sources.find([text]), 4)
    assert "\n" not in str(caught.value)
