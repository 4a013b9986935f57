"""The house: which room may import what, and that the idea loads no framework."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDGES = ("pipelines", "train", "serve_app")
HEAVY = ("ray", "torch", "vllm", "deepspeed", "transformers", "tokenizers", "httpx", "matplotlib", "pyarrow", "rich")
CORE = sorted(path for path in (ROOT / "sprint").rglob("*.py"))
EDGE_FILES = sorted(path for edge in EDGES for path in (ROOT / edge).rglob("*.py"))
CONFIG = "pydantic"  # the one library that core modules which read configuration may import at module level
READS_CONFIG = ("config.py", "ask_config.py", "submit_config.py", "cli.py", "commandline.py", "demo.py", "generate.py")


def imports(path: Path, *, inside_functions: bool) -> set[str]:
    """The modules a file imports, with or without those inside functions. `TYPE_CHECKING` blocks load nothing."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name for node in _walk(tree, inside_functions) for name in _names(node)}


def _walk(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk(child, inside_functions)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [node.module or ""]
    return []


def rooms(path: Path, *, inside_functions: bool) -> set[str]:
    return {name.split(".")[0] for name in imports(path, inside_functions=inside_functions)}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_needs_only_the_standard_library(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"sprint"} | ({CONFIG} if path.name in READS_CONFIG else set())
    assert rooms(path, inside_functions=False) - allowed == set()


@pytest.mark.parametrize("path", CORE, ids=name)
def test_only_the_doors_of_the_command_line_lead_to_the_rooms_above(path: Path) -> None:
    above = rooms(path, inside_functions=True) & set(EDGES)
    assert not above or path == ROOT / "sprint" / "rooms.py"


@pytest.mark.parametrize("path", EDGE_FILES, ids=name)
def test_no_edge_knows_another(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    assert rooms(path, inside_functions=True) & set(EDGES) <= {own}


@pytest.mark.parametrize("path", [*CORE, *EDGE_FILES], ids=name)
def test_every_module_says_what_it_knows(path: Path) -> None:
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_rules_are_not_held_for_want_of_files() -> None:
    assert len(CORE) > 20
    assert {path.relative_to(ROOT).parts[0] for path in EDGE_FILES} == set(EDGES)
    assert rooms(ROOT / "sprint" / "rooms.py", inside_functions=True) >= set(EDGES)


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after `code`."""
    show = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", f"{code}\n{show}"]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())


def test_importing_every_core_module_loads_no_framework() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in CORE]
    loaded = loaded_by("\n".join(f"import {module}" for module in modules))
    assert "sprint" in loaded
    assert loaded & set(HEAVY) == set()


def test_the_engine_needs_nothing_that_must_be_installed() -> None:
    installed = loaded_by("import sprint.engine, sprint.render, sprint.batching, sprint.scripted") - loaded_by("pass")
    assert installed - set(sys.stdlib_module_names) <= {"sprint"}


@pytest.mark.parametrize("command", ["", "curate", "train", "serve", "evaluate", "demo"])
def test_help_loads_no_framework(command: str) -> None:
    code = f"from sprint.cli import main\nassert main([*{command.split()!r}, '--help']) == 0"
    assert loaded_by(code) & (set(HEAVY) - {"rich"}) == set()
