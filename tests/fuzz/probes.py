"""Coverage by counting: the watched modules are compiled with a counter in every branch.

A counter costs tens of nanoseconds; a line tracer calls back into Python for every line and is several times slower
than the code it watches. There is one for each function, branch, loop body, handler and conditional expression. An
input is interesting when one of them counted to a power of two that no input had reached. It knows no target.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_COUNTS = "_fuzz_counts"
_COUNT = "_fuzz_count"
_MAGNITUDES = 64


class Coverage:
    """The counters of all watched modules.

    places   for each counter, the module and the line it stands at
    """

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.places: list[tuple[str, int]] = []
        self._reached: set[int] = set()
        self._seen: set[bytes] = set()

    def new_counter(self, module: str, line: int) -> int:
        self.places.append((module, line))
        self.counts.append(0)
        return len(self.counts) - 1

    def count(self, counter: int) -> None:
        """For expressions; statements count in line."""
        self.counts[counter] += 1

    def start(self) -> None:
        """Forget what the last input did."""
        self.counts[:] = [0] * len(self.counts)

    @property
    def total(self) -> int:
        """How much the input made the watched modules do: the cost of an input, without a clock."""
        return sum(self.counts)

    def is_new(self) -> bool:
        """Whether the input reached what none before it reached; it is remembered."""
        magnitudes = bytes(map(int.bit_length, self.counts))
        if magnitudes in self._seen:
            return False
        self._seen.add(magnitudes)
        reached = features(magnitudes)
        fresh = not reached <= self._reached
        self._reached |= reached
        return fresh

    def reached(self) -> set[int]:
        """What the last input reached."""
        return features(bytes(map(int.bit_length, self.counts)))

    def missed(self) -> list[tuple[str, int]]:
        """The places that no input has reached."""
        hit = {feature // _MAGNITUDES for feature in self._reached}
        return [place for counter, place in enumerate(self.places) if counter not in hit]

    def summary(self) -> str:
        return (
            f"{len(self.places) - len(self.missed())} of {len(self.places)} branches, {len(self._reached)} "
            f"branch counts to a power of two"
        )


def features(magnitudes: bytes) -> set[int]:
    """What the counters say, as a set: this counter got this far."""
    return {counter * _MAGNITUDES + magnitude for counter, magnitude in enumerate(magnitudes) if magnitude}


def watch(modules: Iterable[str]) -> Coverage:
    """From now on, and before anything has imported them, `modules` are imported with counters."""
    names = frozenset(modules)
    loaded = sorted(names & sys.modules.keys())
    assert not loaded, f"already imported without counters: {loaded}"
    coverage = Coverage()
    sys.meta_path.insert(0, _Finder(names, coverage))
    return coverage


def load(modules: Iterable[str]) -> None:
    """Import `modules`, so that every counter exists before the first input."""
    for module in modules:
        importlib.import_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, names: frozenset[str], coverage: Coverage) -> None:
        self._names = names
        self._coverage = coverage

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self._names else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin, self._coverage)
        return spec


class _Loader(SourceFileLoader):
    """Loads a module with counters in it, past the cache of compiled modules."""

    def __init__(self, name: str, path: str, coverage: Coverage) -> None:
        super().__init__(name, path)
        self._coverage = coverage

    def get_code(self, fullname: str) -> CodeType:
        tree: Any = _Probes(fullname, self._coverage).visit(ast.parse(self.get_data(self.path)))
        return compile(ast.fix_missing_locations(tree), self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update({_COUNTS: self._coverage.counts, _COUNT: self._coverage.count})
        super().exec_module(module)


class _Probes(ast.NodeTransformer):
    """Puts the counters in: only inside functions, so that what a module defines stays what it is."""

    def __init__(self, module: str, coverage: Coverage) -> None:
        self._module = module
        self._coverage = coverage
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: Any) -> ast.AST:
        self._depth += 1
        skip = len(node.body) > 1 and ast.get_docstring(node, clean=False) is not None
        node.body = node.body[:skip] + self._block(node.body[skip:], node.lineno)
        self._depth -= 1
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        line, last = node.lineno, node.orelse
        self.generic_visit(node)
        node.body = self._counted(node.body)
        node.orelse = self._counted(node.orelse) if last else [self._statement(line)]
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        return self._loop(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        return self._loop(node)

    def visit_While(self, node: ast.While) -> ast.AST:
        return self._loop(node)

    def _loop(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body)
        node.orelse = [self._statement(node.lineno), *node.orelse]
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.generic_visit(node)
        node.body = self._counted(node.body)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        node.body, node.orelse = self._expression(node.body), self._expression(node.orelse)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        node.values = [node.values[0], *map(self._expression, node.values[1:])]
        return node

    def _block(self, body: list[ast.stmt], line: int) -> list[ast.stmt]:
        visited = [self.visit(statement) for statement in body]
        return [self._statement(line), *visited]

    def _counted(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self._statement(body[0].lineno), *body] if body and self._depth else body

    def _statement(self, line: int) -> ast.stmt:
        if not self._depth:
            return ast.Pass(lineno=line, col_offset=0)
        counter = self._coverage.new_counter(self._module, line)
        (statement,) = ast.parse(f"{_COUNTS}[{counter}] += 1").body
        return statement

    def _expression(self, node: ast.expr) -> ast.expr:
        if not self._depth:
            return node
        counter = self._coverage.new_counter(self._module, node.lineno)
        call = ast.parse(f"{_COUNT}({counter})", mode="eval").body
        return ast.BoolOp(ast.Or(), [call, node])
