"""Engines that never start: the service stands, and says why it does not answer."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.edge.serving import Served, deployed, until

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "an engine argument that is none": ({"engine": {"max_model_length": 5}}, "max_model_length"),
    "a context that the model has not": ({"engine": {"max_model_len": 100_000}}, "max_model_len (100000) is greater"),
    "too little memory": ({"engine": {"kv_cache_memory_bytes": 1 << 20}}, "the KV cache does not fit its memory"),
    "broken weights": ({}, "the weights cannot be read"),
}


SLOW = ("too little memory", "broken weights")  # each case starts a Ray: two of four are enough for every day


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BROKEN])
def test_an_engine_that_cannot_start_is_a_reason_in_ready(folder: Path, tmp_path: Path, name: str) -> None:
    options, part = BROKEN[name]
    if name == "broken weights":
        shutil.copytree(folder, tmp_path / "tiny")
        folder = tmp_path / "tiny"
        (folder / "model.safetensors").write_bytes(b"\xff" * 64)

    async def run(service: Served) -> None:
        async def failed() -> bool:
            try:
                answer = await client.get(f"{service.url}/ready")
            except httpx.TransportError:
                return False  # not even the door is open yet
            return answer.status_code == 503 and part in answer.text

        async with httpx.AsyncClient(timeout=20) as client:
            await until(failed, 0.3)
            said = (await client.get(f"{service.url}/ready")).json()
            assert said["status"] == "failed"
            assert "\n" not in said["reason"]
            assert (await client.get(f"{service.url}/health")).status_code == 200

    with deployed(folder, **options) as service:
        asyncio.run(run(service))
