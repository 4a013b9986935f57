"""Laws of inputs and outputs elsewhere: a bucket or the hub gives the rows that a folder gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from pipelines.inputs import sources
from pipelines.inputs.filesystems import display_name, open_filesystem, parse
from sprint.errors import InputError
from tests.edge.fake_hub import COMMIT, NAME, FakeHub
from tests.edge.fake_s3 import FakeS3
from tests.edge.inputs import ids_of, read, some_rows, write_arrow, write_dataset, write_jsonl, write_parquet

ROOT = Path(__file__).parents[2]


# --- buckets ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[FakeS3]:
    with FakeS3() as server:
        yield server


def _put(s3: FakeS3, folder: Path, bucket: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            s3.objects[f"{bucket}/{path.relative_to(folder)}"] = path.read_bytes()


def test_a_bucket_gives_the_rows_that_a_folder_gives(tmp_path: Path, s3: FakeS3) -> None:
    tree = tmp_path / "traces"
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", "_tmp/e.jsonl"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(tree / name, [{"id": name}])
    write_parquet(tree / "p q.parquet", some_rows(9), row_group_size=4)
    write_dataset(tree / "dataset", some_rows(7), num_shards=2)
    write_arrow(tree / "dataset" / "cache-1.arrow", some_rows(2), 2, stream=True)
    _put(s3, tree, "lab/traces")
    for pattern in ("", "/*.jsonl", "/**/*.jsonl", "/dataset", "/p q.parquet"):
        local, remote = read([f"{tree}{pattern}"], 3), read([s3.uri(f"lab/traces{pattern}")], 2)
        assert [(row.value, row.position) for row in remote] == [(row.value, row.position) for row in local]
    assert read([s3.uri("lab/traces")])[0].where == "s3://lab/traces/a.jsonl line 1"


def test_lines_of_a_bucket_are_read_where_they_are_and_not_from_the_start(s3: FakeS3, tmp_path: Path) -> None:
    s3.objects["lab/long.jsonl"] = write_jsonl(tmp_path / "a.jsonl", some_rows(1000)).read_bytes()
    cut = sources.shards(sources.find([s3.uri("lab/long.jsonl")]), 10)
    before = s3.num_bytes_sent
    assert ids_of(list(sources.read(cut[70]))) == [f"r{i}" for i in range(700, 710)]
    assert s3.num_bytes_sent - before == cut[70].num_bytes


def test_what_a_bucket_does_not_hold_is_said_without_its_keys(s3: FakeS3) -> None:
    with pytest.raises(InputError) as caught:
        sources.find([s3.uri("lab/absent")])
    assert str(caught.value) == "s3://lab/absent does not exist"


def test_a_bucket_takes_outputs(s3: FakeS3) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    filesystem, path = open_filesystem(s3.uri("out/run"))
    filesystem.create_dir(f"{path}/rows")
    pq.write_table(pa.Table.from_pylist(some_rows(3)), f"{path}/rows/part-0.parquet", filesystem=filesystem)
    with filesystem.open_output_stream(f"{path}/large") as stream:
        for _ in range(12):
            stream.write(bytes(2**20))  # more than one part of an upload
    assert len(s3.objects["out/run/large"]) == 12 * 2**20
    filesystem.move(f"{path}/rows/part-0.parquet", f"{path}/rows/part-1.parquet")
    assert ids_of(read([s3.uri("out/run/rows")])) == ["r0", "r1", "r2"]
    filesystem.delete_dir(path)
    assert not [name for name in s3.objects if name.startswith("out/run/")]


@pytest.mark.parametrize(
    ("text", "shown", "opened"),
    [
        ("s3://KEY:PW@lab/a b?region=x&scheme=http", "s3://lab/a b", "s3://KEY:PW@lab/a b?region=x&scheme=http"),
        ("s3://lab/what?.jsonl", "s3://lab/what?.jsonl", "s3://lab/what?.jsonl"),
        ("s3://lab/a@b", "s3://lab/a@b", "s3://lab/a@b"),
        ("gcs://lab", "gcs://lab", "gs://lab"),
        ("gs://anonymous@lab/x/", "gs://lab/x/", "gs://anonymous@lab/x"),
        ("file:///tmp/a%20b", "file:///tmp/a%20b", "/tmp/a b"),
        ("/tmp/x?a=b", "/tmp/x?a=b", "/tmp/x?a=b"),
        ("hf://datasets/lab/traces@v1", "hf://datasets/lab/traces@v1", "hf://datasets/lab/traces@v1"),
    ],
)
def test_addresses_are_shown_without_keys_and_opened_with_them(text: str, shown: str, opened: str) -> None:
    assert display_name(text) == shown
    assert str(parse(text)) == opened
    assert str(parse(opened)) == opened


# --- the hub ---------------------------------------------------------------------------------------------------------

_CHILD = """
import json, sys
from pipelines.inputs import sources
from sprint.errors import InputError
for text in sys.argv[1:]:
    try:
        cut = sources.shards(sources.find([text]), 4)
        rows = [row for shard in cut for row in sources.read(shard)]
        print(json.dumps([sorted({shard.uri for shard in cut}), [row.value["id"] for row in rows]]))
    except InputError as error:
        print(json.dumps(str(error)))
"""


def _from_hub(hub: FakeHub, *texts: str) -> list[Any]:
    """What a child says, which knows this hub and no other: addresses and ids, or the error."""
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", _CHILD, *texts]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dataset_of_the_hub_is_read_at_the_commit_that_it_has_now() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = BytesIO()
    pq.write_table(pa.Table.from_pylist(some_rows(9)), table, row_group_size=4)
    lines = b'{"id": "x"}\n{"id": "y"}\n'
    at = f"hf://datasets/{NAME}@{COMMIT}"
    with FakeHub({"README.md": b"#", "data/a.parquet": table.getvalue(), "data/b.jsonl": lines}) as hub:
        name, folder, pattern, absent, other = _from_hub(
            hub, NAME, f"hf://datasets/{NAME}/data", f"hf://datasets/{NAME}@main/*/*.jsonl", "lab/absent", f"{NAME}@v9"
        )
    assert name == folder == [[f"{at}/data/a.parquet", f"{at}/data/b.jsonl"], [*(f"r{i}" for i in range(9)), "x", "y"]]
    assert pattern == [[f"{at}/data/b.jsonl"], ["x", "y"]]
    assert absent.startswith("lab/absent is no local path, and as a dataset of the hub: hf://datasets/lab/absent does")
    assert absent.endswith("does not exist, or HF_TOKEN may not read it")
    assert "does not exist" in other


@pytest.mark.parametrize(
    "data_files",
    ["data/*", "[data/a.jsonl, data/b.jsonl]", "{train: data/*}", "[{split: train, path: [data/*.jsonl]}]"],
)
def test_of_a_dataset_with_configurations_the_default_is_read(data_files: str) -> None:
    other = "{config_name: metadata, data_files: metadata/*}"
    default = f"{{config_name: default, data_files: {data_files}}}"
    card = f"---\nlicense: mit\nconfigs: [{other}, {default}]\n---\n# Traces\n"
    files = {"metadata/a.jsonl": b'{"id": "m"}', "data/a.jsonl": b'{"id": "a"}', "data/b.jsonl": b'{"id": "b"}'}
    with FakeHub({"README.md": card.encode(), **files}) as hub:
        name, named = _from_hub(hub, NAME, f"hf://datasets/{NAME}/metadata")
    assert (name[1], named[1]) == (["a", "b"], ["m"])


@pytest.mark.parametrize(
    "card", ["", "---\n: [\n---\n", "---\nconfigs: 3\n---\n", "---\nconfigs: [{config_name: x}]\n---\n"]
)
def test_a_card_that_names_no_default_leaves_all_files(card: str) -> None:
    with FakeHub({"README.md": card.encode(), "b/b.jsonl": b'{"id": "b"}', "a.jsonl": b'{"id": "a"}'}) as hub:
        assert _from_hub(hub, NAME)[0][1] == ["a", "b"]


def test_a_local_folder_goes_before_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab" / "traces").mkdir(parents=True)
    write_jsonl(tmp_path / "lab" / "traces" / "a.jsonl", some_rows(2))
    monkeypatch.chdir(tmp_path)
    assert ids_of(read(["lab/traces"])) == ["r0", "r1"]
