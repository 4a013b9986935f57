"""What all tests share: the environment that children inherit, and the optional reference data.

The variables are set before anything imports Ray, torch or vLLM.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sprint.steps import CPU_ENVIRONMENT

# No test asserts a time. On CI the same examples are drawn every time, so that a run can be repeated.
settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("steady")

for name, value in CPU_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's 15 its workers hardly get a turn beside the unit tests

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Published traces and outputs to compare with; they are not part of the project."""
    folder = Path(os.environ.get("SPRINT_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set SPRINT_REFERENCE_DATA to run this test")
    return folder
