"""Which files an input stands for: a file, a folder, a glob or a dataset, on any filesystem, in a fixed order.

Knows names and folders, opens no data file. A folder stands for every input file below it, names that begin with `.`
or `_` left out (drafts, markers, caches); a folder that `datasets` saved for exactly the files its `state.json` lists,
and a dataset with splits for all of them: name the split's folder (`traces/train`) to read only one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from pipelines.inputs.filesystems import (
    Address,
    display_name,
    fingerprint,
    is_hub_name,
    open_filesystem,
    parse,
    pinned,
    reaching,
)
from sprint.errors import InputError

SUFFIXES = (".jsonl", ".parquet", ".arrow")
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".lz4", ".zip")
_STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Source:
    """One input file: its address, which opens in any process, its size in bytes, and what changes when it does."""

    uri: str
    size: int
    fingerprint: str


def find(text: str) -> list[Source]:
    """The files that one input stands for. Raises InputError where there is none."""
    address = _address(text)
    with reaching(text):
        filesystem, path = open_filesystem(str(address))
        info = _info(filesystem, path)
        if info is None and not _has_magic(path):
            raise InputError(f"{display_name(text)} does not exist", field="inputs")
        files = _all_files(filesystem, address, info)
        _refuse_compressed(text, files)
        found = [file for file in files if file.path.endswith(SUFFIXES)]
        if not found:
            kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
            raise InputError(f"{display_name(text)} leads to no {kinds} file", field="inputs")
        return [_source(address, filesystem, file) for file in found]


def _all_files(filesystem: Any, address: Address, info: Any) -> list[Any]:
    """The files that an address stands for, of any kind. `info` is what stands there, or None."""
    if info is None:
        return _matches(filesystem, address.path)
    patterns = _default_files(filesystem, address.path) if address.is_hub and address.path.count("/") == 2 else []
    found = [file for pattern in patterns for file in _matches(filesystem, f"{address.path}/{pattern}")]
    return found or _expanded(filesystem, info)


def _address(text: str) -> Address:
    if not is_hub_name(text) or text.endswith((*SUFFIXES, *_COMPRESSED)):
        return parse(pinned(text))
    try:
        return parse(pinned(f"hf://datasets/{text}"))
    except InputError as error:
        raise InputError(f"{text} is no local path, and as a dataset of the hub: {error}", field="inputs") from error


def _refuse_compressed(text: str, files: list[Any]) -> None:
    """Raises InputError for compressed rows: to pass over them in silence would lose them."""
    endings = tuple(f"{suffix}{packed}" for suffix in SUFFIXES for packed in _COMPRESSED)
    name = next((_name(file) for file in files if file.path.endswith(endings)), None)
    if name:
        reason = f"leads to {name}, which is compressed: unpack it or name the other files"
        raise InputError(f"{display_name(text)} {reason}", field="inputs")


def _source(address: Address, filesystem: Any, file: Any) -> Source:
    return Source(str(address.with_path(file.path)), file.size, fingerprint(filesystem, file))


# --- listing ---------------------------------------------------------------------------------------------------------


def _info(filesystem: Any, path: str) -> Any:
    """What stands at a path, or None."""
    info = filesystem.get_file_info(path)
    return info if info.type.name in ("File", "Directory") else None


def _expanded(filesystem: Any, info: Any) -> list[Any]:
    if info.type.name == "File":
        return [info]
    return _without_caches(filesystem, [file for file in _below(filesystem, info.path) if file.type.name == "File"])


def _below(filesystem: Any, folder: str) -> list[Any]:
    """What is in a folder and the folders in it, in the order of the names, hidden names left out."""
    from pyarrow.fs import FileSelector

    infos = filesystem.get_file_info(FileSelector(folder, recursive=True))
    seen = [info for info in infos if not any(map(_is_hidden, _relative(info.path, folder)))]
    return sorted(seen, key=lambda info: _relative(info.path, folder))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _relative(path: str, folder: str) -> tuple[str, ...]:
    return PurePosixPath(path).relative_to(folder).parts


def _without_caches(filesystem: Any, files: list[Any]) -> list[Any]:
    """The files, and of folders that `datasets` saved only those that it lists: its caches lie beside them."""
    saved = {
        _folder(file): names
        for file in files
        if _name(file) == _STATE and (names := _listed(filesystem, file)) is not None
    }
    present = {file.path for file in files}
    for folder, names in saved.items():
        for name in names:
            if f"{folder}/{name}" not in present:
                raise InputError(f"{folder}/{_STATE} lists {name}, which is not there", field="inputs")
    return [file for file in files if _name(file) in saved.get(_folder(file), [_name(file)])]


def _folder(file: Any) -> str:
    return str(PurePosixPath(file.path).parent)


def _name(file: Any) -> str:
    return PurePosixPath(file.path).name


def _listed(filesystem: Any, file: Any) -> list[str] | None:
    """The data files that a `state.json` lists, or None when it is not one of `datasets`."""
    with filesystem.open_input_stream(file.path) as stream:
        text = stream.read()
    try:
        return [str(entry["filename"]) for entry in json.loads(text)["_data_files"]]
    except (ValueError, KeyError, TypeError):
        return None


# --- datasets of the hub ---------------------------------------------------------------------------------------------


def _default_files(filesystem: Any, root: str) -> list[str]:
    """Globs of the files in a dataset's default configuration, as its card names them; none where it names none.

    Other configurations hold the same rows again, in another shape or selection.
    """
    if _info(filesystem, f"{root}/README.md") is None:
        return []
    with filesystem.open_input_stream(f"{root}/README.md") as stream:
        _, _, rest = stream.read().decode("utf-8", "replace").replace("\r\n", "\n").partition("---\n")
    return _default_globs(rest.partition("\n---")[0])


def _default_globs(card: str) -> list[str]:
    import yaml

    try:
        configs = yaml.safe_load(card)["configs"]
        default = next(one for one in configs if one.get("default") or one["config_name"] == "default")
        return _globs(default["data_files"])
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, StopIteration):
        return []


def _globs(value: Any) -> list[str]:
    """All globs in a card's `data_files`: text, lists, `{split, path}` or `{split: path}`, one in another."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [value["path"]] if "path" in value else list(value.values())
    return [glob for part in value for glob in _globs(part)]


# --- globs -----------------------------------------------------------------------------------------------------------


def _has_magic(text: str) -> bool:
    return any(char in text for char in "*?[")


def _matches(filesystem: Any, path: str) -> list[Any]:
    """The files that a glob matches; a folder that it matches stands for its files."""
    parts = PurePosixPath(path).parts
    fixed = next((i for i, part in enumerate(parts) if _has_magic(part)), len(parts))
    folder = _info(filesystem, str(PurePosixPath(*parts[:fixed])))
    matched = _glob(filesystem, folder, parts[fixed:]) if folder else []
    return list({file.path: file for info in matched for file in _expanded(filesystem, info)}.values())


def _glob(filesystem: Any, folder: Any, pattern: tuple[str, ...]) -> list[Any]:
    """Files and folders, one level of folders at a time up to `**`, which is any number of them."""
    from pyarrow.fs import FileSelector

    if not pattern:
        return [folder]
    if folder.type.name == "File":
        return []
    if pattern[0] == "**":
        return [info for info in _below(filesystem, folder.path) if _fits(_relative(info.path, folder.path), pattern)]
    infos = sorted(filesystem.get_file_info(FileSelector(folder.path)), key=lambda info: info.path)
    hits = [info for info in infos if _is_match(_name(info), pattern[0])]
    return [found for info in hits for found in _glob(filesystem, info, pattern[1:])]


def _is_match(name: str, part: str) -> bool:
    return fnmatchcase(name, part) and (not _is_hidden(name) or _is_hidden(part))


def _fits(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_fits(names[skipped:], pattern[1:]) for skipped in range(len(names) + 1))
    return bool(names) and _is_match(names[0], pattern[0]) and _fits(names[1:], pattern[1:])
