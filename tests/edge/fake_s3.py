"""An S3 server for tests: buckets are made when first named, objects live in memory, keys are not checked.

Enough for pyarrow's client: list, head, ranged get, put, multipart upload, copy, delete of one and of many.

    with FakeS3() as s3:
        s3.objects["bucket/traces/a.jsonl"] = b"…"
        sources.find([s3.uri("bucket/traces")])
"""

# ruff: noqa: N802 (`do_GET` and its kin are called so by http.server)

from __future__ import annotations

import hashlib
import threading
from io import BytesIO
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.edge.local_server import Handler, LocalServer, chunks

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_DATE = "2026-01-01T00:00:00.000Z"


class FakeS3(LocalServer):
    """The server and its objects, by `bucket/key`. `requests` and `num_bytes_sent` tell what clients did."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []  # method and path
        self.num_bytes_sent = 0
        self.lock = threading.Lock()
        super().__init__(_Handler, s3=self)

    def uri(self, path: str) -> str:
        """The address of `bucket/key`, with all that a client in any process needs."""
        return f"s3://test:secret@{path}?endpoint_override={self.address}&scheme=http"


class _Handler(Handler):
    s3: FakeS3

    def _begin(self) -> tuple[str, dict[str, str], bytes]:
        """Path (`bucket/key`), query and body of the request."""
        with self.s3.lock:
            self.s3.requests.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        body = self.body()
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = chunks(BytesIO(body))
        return unquote(parts.path).removeprefix("/"), dict(parse_qsl(parts.query, keep_blank_values=True)), body

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        if self.command != "HEAD":
            with self.s3.lock:
                self.s3.num_bytes_sent += len(body)
        super().send(status, body, **headers)

    def _send_xml(self, name: str, body: str) -> None:
        self.send(200, f"<{name} {_NAMESPACE}>{body}</{name}>".encode(), Content_Type="application/xml")

    def do_HEAD(self) -> None:
        path, _, _ = self._begin()
        data = b"" if _is_bucket(path) else self.s3.objects.get(path)
        if data is None:
            self.send(404)
        else:
            self.send(200, b"\0" * len(data), **_about(data))

    def do_GET(self) -> None:
        path, query, _ = self._begin()
        if _is_bucket(path):
            self._list(path.rstrip("/"), query)
            return
        data = self.s3.objects.get(path)
        if data is None:
            self.send(404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>")
            return
        self.send_range(data, **_about(data))

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        """ListObjectsV2, three entries a page, so that clients must turn pages."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        with self.s3.lock:
            keys = [key.partition("/")[2] for key in sorted(self.s3.objects) if key.startswith(f"{bucket}/")]
        entries: dict[str, str] = {}
        for key in (key for key in keys if key.startswith(prefix)):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            name = prefix + head + cut if cut else key
            entries[name] = _folder(name) if cut else _object(key, self.s3.objects[f"{bucket}/{key}"])
        after = query.get("continuation-token", "")
        left = [name for name in sorted(entries) if name > after]
        page = left[: min(int(query.get("max-keys", 1000)), 3)]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(left) > len(page) else ""
        state = f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        self._send_xml("ListBucketResult", state + more + "".join(entries[name] for name in page))

    def do_PUT(self) -> None:
        path, query, body = self._begin()
        with self.s3.lock:
            if "x-amz-copy-source" in self.headers:
                body = self.s3.objects[unquote(self.headers["x-amz-copy-source"]).strip("/")]
            if "uploadId" in query:
                self.s3.uploads[query["uploadId"]][int(query["partNumber"])] = body
            elif not _is_bucket(path):
                self.s3.objects[path] = body
        if "x-amz-copy-source" in self.headers:
            self._send_xml("CopyObjectResult", f"<ETag>{_etag(body)}</ETag><LastModified>{_DATE}</LastModified>")
        else:
            self.send(200, ETag=_etag(body))

    def do_POST(self) -> None:
        path, query, body = self._begin()
        bucket, _, key = path.partition("/")
        names = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
        if "uploads" in query:
            with self.s3.lock:
                upload = f"upload-{len(self.s3.uploads)}"
                self.s3.uploads[upload] = {}
            self._send_xml("InitiateMultipartUploadResult", f"{names}<UploadId>{upload}</UploadId>")
        elif "uploadId" in query:
            with self.s3.lock:
                parts = self.s3.uploads.pop(query["uploadId"])
                self.s3.objects[path] = b"".join(parts[number] for number in sorted(parts))
            self._send_xml("CompleteMultipartUploadResult", f"{names}<ETag>{_etag(self.s3.objects[path])}</ETag>")
        else:
            for name in ElementTree.fromstring(body).iterfind(".//{*}Key"):
                self.s3.objects.pop(f"{bucket}/{name.text}", None)
            self._send_xml("DeleteResult", "")

    def do_DELETE(self) -> None:
        path, query, _ = self._begin()
        if "uploadId" in query:
            self.s3.uploads.pop(query["uploadId"], None)
        else:
            self.s3.objects.pop(path, None)
        self.send(204)


def _is_bucket(path: str) -> bool:
    return not path.partition("/")[2]


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _about(data: bytes) -> dict[str, str]:
    return {"ETag": _etag(data), "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept_Ranges": "bytes"}


def _object(key: str, data: bytes) -> str:
    about = f"<LastModified>{_DATE}</LastModified><ETag>{_etag(data)}</ETag><Size>{len(data)}</Size>"
    return f"<Contents><Key>{escape(key)}</Key>{about}<StorageClass>STANDARD</StorageClass></Contents>"


def _folder(name: str) -> str:
    return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
