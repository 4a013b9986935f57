"""Laws of the dashboard: it asks for what `/metrics` shows, and Grafana can draw it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.observe.metrics import Metrics
from tests.unit.rollouts import all_kinds
from tests.unit.scraped import STATS, after, families_of, samples

DASHBOARD = Path(__file__).parents[2] / "serve_app" / "observe" / "grafana" / "sprint.json"


@pytest.fixture(scope="module")
def seen() -> Metrics:
    """A service that has met everything."""
    return after(all_kinds())


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    assert found
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with its panel's title."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def test_every_expression_asks_for_what_is_shown(seen: Metrics) -> None:
    labels: dict[str, set[str]] = {}
    for sample in samples(seen, STATS):
        labels.setdefault(sample.name, {"instance"}).update(sample.labels)
    for title, expression in expressions():
        names = re.findall(r"\bsprint_\w+", expression)
        assert names, (title, expression)
        assert set(names) <= set(labels), (title, set(names) - set(labels))
        known = set.intersection(*(labels[name] for name in names))
        asked = {name for group in re.findall(r"by \(([^)]*)\)", expression) for name in re.split(r",\s*", group)}
        assert asked <= known, (title, asked - known)
        for name, matchers in re.findall(r"(sprint_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=~?\"", matchers)) <= labels[name], (title, name)


def test_every_expression_is_well_formed() -> None:
    for title, expression in expressions():
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), (title, expression)
        assert all(
            name.endswith("_bucket") for name in re.findall(r"histogram_quantile\([^{]*?(sprint_\w+)", expression)
        )
        for name in re.findall(r"(?<!rate\()\b(sprint_\w+)", expression):
            assert not name.endswith(("_total", "_bucket", "_sum", "_count")), f"{title}: a counter without its rate"


def test_every_number_that_only_this_service_has_is_on_the_dashboard(seen: Metrics) -> None:
    shown = " ".join(expression for _, expression in expressions())
    families = families_of(seen.render(STATS))
    ours = {family.name for family in families if not family.name.startswith("sprint_process")}
    missing = {name for name in ours if name not in shown}
    assert missing == {"sprint_paper_sequential_tokens", "sprint_runtime_tokens"}, "these two are for reports"


def test_panels_have_ids_places_and_units() -> None:
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["description"].endswith("."), panel["title"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references), panel["title"]
    rows = [panel["title"] for panel in found if panel["type"] == "row"]
    assert rows == ["Traffic", "Latency", "Parallelism", "Tokens", "Engine pools", "Faults"]


def test_it_can_be_imported_over_any_prometheus() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert {"uid", "title", "schemaVersion", "time", "templating"} <= set(dashboard)
    assert dashboard.get("id") is None, "an id belongs to one Grafana"
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query"}
    for panel in panels():
        for holder in [*panel.get("targets", ()), *([panel] if panel["type"] != "row" else [])]:
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
