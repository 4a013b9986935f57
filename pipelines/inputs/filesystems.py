"""Where files are: local paths, `file://`, `s3://`, `gs://` and datasets of the Hugging Face hub, behind one interface.

Knows addresses and how to open the filesystem behind one, from a plain string and so in any process. Knows nothing of
what the files hold. An S3 or GCS address takes pyarrow's options as a query and keys before the bucket, e.g.
`s3://KEY:SECRET@bucket/folder?region=eu-west-1&endpoint_override=127.0.0.1:9000&scheme=http`; otherwise the usual
environment variables count. What stands between bucket and query is the path, literally (not percent-encoded).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from sprint.errors import InputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_QUERY = re.compile(r"\?[\w.-]+=[^&?/]*(?:&[\w.-]+=[^&?/]*)*\Z")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(?:@[\w.%-]+)?")
_BUCKETS = {"s3": "s3://", "gs": "gs://", "gcs": "gs://"}
_HUB = "hf://"
_MAX_ERROR_CHARS = 240
_GCS_RETRY_S = 60  # the client's own default is a quarter of an hour


@dataclass(frozen=True, slots=True)
class Address:
    """`str(address)` opens again what this one opened. `path` is the path as pyarrow's filesystem wants it."""

    prefix: str
    path: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.prefix}{self.path}{self.query}"

    @property
    def is_local(self) -> bool:
        return not self.prefix

    @property
    def is_hub(self) -> bool:
        return self.prefix == _HUB

    def with_path(self, path: str) -> Address:
        """Another path of the same filesystem."""
        return replace(self, path=path)


def parse(text: str) -> Address:
    """The address in `text`; local paths become absolute. Raises InputError for a scheme that is not supported."""
    match = _SCHEME.match(text)
    if match is None:
        return Address("", os.path.abspath(os.path.expanduser(text)))
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme == "file":
        return Address("", os.path.abspath(unquote("/" + rest.partition("/")[2])))
    if scheme == "hf":
        return _hub_address(text, rest.rstrip("/"))
    if scheme not in _BUCKETS:
        raise InputError(f"{text} has the scheme {scheme}://, expected a path, file://, s3://, gs:// or hf://datasets/")
    query = _QUERY.search(rest)
    bucket, slash, path = rest[: query.start() if query else None].strip("/").partition("/")
    keys, at, bucket = bucket.rpartition("@")
    if not bucket:
        raise InputError(f"{display_name(text)} names no bucket")
    return Address(f"{_BUCKETS[scheme]}{keys}{at}", f"{bucket}{slash}{path}", query[0] if query else "")


def _hub_address(text: str, rest: str) -> Address:
    kind, _, name = rest.partition("/")
    if kind != "datasets" or name.count("/") < 1:
        raise InputError(f"{text} names no dataset of the hub, expected hf://datasets/owner/name")
    return Address(_HUB, rest)


def is_hub_name(text: str) -> bool:
    """Whether `text` could be `owner/name[@revision]` on the hub; a local path of that name goes first."""
    return _HUB_NAME.fullmatch(text) is not None and not os.path.lexists(text)


def display_name(text: str) -> str:
    """The address for a person: without keys and options, which belong in no report."""
    match = _SCHEME.match(text)
    if match is None:
        return text
    rest = _QUERY.sub("", text[match.end() :])
    bucket = rest.partition("/")[0]
    return match[0] + (rest[bucket.rindex("@") + 1 :] if "@" in bucket else rest)


def open_filesystem(text: str) -> tuple[Any, str]:
    """The pyarrow filesystem behind an address, and the path inside it. Raises InputError when there is none.

    One filesystem object per bucket and process; they may be used from several threads.
    """
    address = parse(text)
    if address.is_local:
        return _opened("", "", ""), address.path
    with reaching(text):
        bucket = address.path.partition("/")[0]
        return _opened(address.prefix, "" if address.is_hub else bucket, address.query), address.path


@lru_cache(maxsize=64)
def _opened(prefix: str, bucket: str, query: str) -> Any:
    import pyarrow.fs

    if not prefix:
        return pyarrow.fs.LocalFileSystem()
    if prefix == _HUB:
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(_hub()))
    if prefix.startswith("gs://") and "retry_limit_seconds" not in query:
        query = f"{query}{'&' if query else '?'}retry_limit_seconds={_GCS_RETRY_S}"
    return pyarrow.fs.FileSystem.from_uri(f"{prefix}{bucket}{query}")[0]


@contextmanager
def reaching(text: str) -> Iterator[None]:
    """Turns what filesystems and their clients raise into an InputError of one sentence."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        hint = ", or HF_TOKEN may not read it" if text.startswith(_HUB) else ""
        raise InputError(f"{display_name(text)} does not exist{hint}", field="inputs") from error
    except Exception as error:
        if not isinstance(error, (OSError, ValueError)) and not is_http(error):
            raise
        raise InputError(f"{display_name(text)} cannot be read: {_sentence(error)}", field="inputs") from error


def is_http(error: Exception) -> bool:
    """Whether an error comes from an HTTP client; which one the hub's client is built on depends on its version."""
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "huggingface_hub")


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def _sentence(error: Exception) -> str:
    """The beginning of what an error says; some clients write pages."""
    text = one_line(error)
    return text if len(text) <= _MAX_ERROR_CHARS else text[:_MAX_ERROR_CHARS] + "…"


# --- the hub ---------------------------------------------------------------------------------------------------------


def _hub() -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem(endpoint=os.environ.get("HF_ENDPOINT"))


def pinned(text: str) -> str:
    """A hub address with its revision replaced by the commit it stands for now; any other address as it is.

    A dataset may get a new commit while a run reads it, or before it resumes; a commit's files never change.
    """
    address = parse(text)
    if not address.is_hub:
        return text
    with reaching(text):
        hub = _hub()
        found = hub.resolve_path(address.path)
        from huggingface_hub import HfApi

        commit = HfApi(endpoint=hub.endpoint).dataset_info(found.repo_id, revision=found.revision).sha
    parts = [f"datasets/{found.repo_id}@{commit}", *([found.path_in_repo] if found.path_in_repo else [])]
    return str(address.with_path("/".join(parts)))


def fingerprint(filesystem: Any, file: Any) -> str:
    """What changes when a file (a FileInfo) does: the hub's hash of the content, else size in bytes and time in ns."""
    hub = getattr(getattr(filesystem, "handler", None), "fs", None)
    if hub is None:
        return f"{file.size}-{file.mtime_ns}"
    info = hub.info(file.path)
    return str((info.get("lfs") or {}).get("sha256") or info["blob_id"])
