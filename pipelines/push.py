"""Uploads the finished sets of a run to a dataset hub.

Knows which files belong there; the hub's client does the work.
"""

from __future__ import annotations

from pipelines.inputs.filesystems import is_http
from pipelines.record.store import Store
from sprint.errors import InputError

_FILES = ("README.md", "manifest.json", "report.html", "sprint/*", "rft/*")


def push(store: Store, name: str) -> str:
    """Uploads to the dataset `owner/name`, private when it is new; its address. Raises InputError when it fails."""
    from huggingface_hub import HfApi

    if not store.is_local:
        raise InputError(f"only a run in a local folder can be pushed, not {store.name}", field="push")
    api = HfApi()
    try:
        api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type="dataset", folder_path=store.path(), allow_patterns=list(_FILES))
    except Exception as error:
        if not isinstance(error, OSError) and not is_http(error):
            raise
        raise InputError(f"{name} cannot be pushed: {' '.join(str(error).split())[:300]}", field="push") from error
    print(f"pushed to {api.endpoint}/datasets/{name}", flush=True)
    return f"{api.endpoint}/datasets/{name}"
