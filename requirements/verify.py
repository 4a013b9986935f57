"""Checks that an installed environment is the CPU one: no CUDA torch, and none of the packages that come with it.

Run by `make` at the end of an installation. It knows the names to look for, and nothing about the project.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

UNWANTED = ("torchvision", "torchaudio", "torchcodec", "triton", "nvidia-cuda-runtime", "vllm")


def installed(name: str) -> bool:
    """Whether the distribution is installed."""
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def main() -> str | None:
    """One sentence about what is wrong, or None."""
    found = [name for name in UNWANTED if installed(name)]
    if found:
        return f"error: {', '.join(found)} must not be in the CPU environment: remove .venv and run make again"
    if not version("torch").endswith("+cpu"):
        return f"error: torch {version('torch')} is not a CPU build: remove .venv and run make again"
    return None


if __name__ == "__main__":
    sys.exit(main())
