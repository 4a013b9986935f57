"""A Hugging Face hub for tests: one dataset in memory, as much of the hub's API as listing, reading and uploading need.

with FakeHub({"data/train.jsonl": b"…"}) as hub:   # the dataset lab/traces
    environ["HF_ENDPOINT"] = hub.endpoint          # read when huggingface_hub is imported: use a child process
"""

# ruff: noqa: N802 (`do_GET` and its kin are called so by http.server)

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.edge.local_server import Handler, LocalServer

NAME = "lab/traces"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(LocalServer):
    """The server; `files` holds the dataset's files by path."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        super().__init__(_Handler, files=files)
        self.endpoint = f"http://{self.address}"


class _Handler(Handler):
    files: dict[str, bytes]

    def _send_json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if tree := re.fullmatch(rf"/api/datasets/{NAME}/tree/[^/]+/?(.*)", path):
            self._send_json(self._entries(tree[1]))
        elif re.fullmatch(rf"/api/datasets/{NAME}(/revision/(main|{COMMIT}))?", path):
            self._send_json({"id": NAME, "sha": COMMIT, "private": False, "siblings": []})
        elif (file := re.fullmatch(rf"/datasets/{NAME}/resolve/[^/]+/(.*)", path)) and file[1] in self.files:
            self._send_file(self.files[file[1]])
        else:
            self.send(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send_file(self, data: bytes) -> None:
        about = {"ETag": f'"{_hash(data)}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
        self.send_range(data, **about)

    def do_POST(self) -> None:
        """What stands at some paths, or a commit of files, all of them sent along."""
        text = self.body().decode()
        if self.path == "/api/repos/create":
            self._send_json({"url": f"http://{self.headers['Host']}/datasets/{NAME}", "name": NAME})
        elif self.path == "/api/validate-yaml":
            self._send_json({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            asked = [file["path"] for file in json.loads(text)["files"]]
            self._send_json(
                {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in asked]}
            )
        elif self.path.endswith("/commit/main"):
            values = [line["value"] for line in map(json.loads, text.splitlines()) if line["key"] == "file"]
            self.files |= {value["path"]: base64.b64decode(value["content"]) for value in values}
            self._send_json({"commitUrl": f"/datasets/{NAME}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})
        else:
            self._send_paths(text)

    def _send_paths(self, text: str) -> None:
        paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
        self._send_json([entry for entry in self._entries("") if entry["path"] in paths])

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        """All files and folders below `folder`."""
        parents = {path.rsplit("/", n)[0] for path in self.files for n in range(1, path.count("/") + 1)}
        folders = [{"type": "directory", "path": path, "size": 0, "oid": _hash(path.encode())} for path in parents]
        files = [
            {"type": "file", "path": path, "size": len(data), "oid": _hash(data)} for path, data in self.files.items()
        ]
        prefix = f"{folder}/" if folder else ""
        return [entry for entry in [*folders, *files] if str(entry["path"]).startswith(prefix)]


def _hash(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
