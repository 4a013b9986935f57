"""Stored rollouts in the page: saved, opened, replayed, scrubbed, refused; and a long one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sprint import recording
from sprint.tags import prompt
from sprint.types import Execution, Round, Trajectory
from tests.edge.browser import Page, browser
from tests.edge.page_server import POWERS, QUESTION, Service, rollout_of
from tests.edge.page_visit import FINISHED, answered, eventually, tree_of, visit


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service().running() as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture
def page(service: Service, chromium: Page) -> Iterator[Page]:
    with visit(service, chromium) as opened:
        yield opened


def test_a_saved_rollout_is_a_recording_and_replays_as_the_same_tree(page: Page, tmp_path: Path) -> None:
    tree = answered(page)
    page.downloads_to(tmp_path)
    page.evaluate("document.getElementById('save').click()")
    eventually(lambda: any(path.suffix == ".jsonl" for path in tmp_path.iterdir()))
    (saved,) = tmp_path.iterdir()
    events, rollout = list(recording.read(saved)), rollout_of(POWERS)[1]
    assert recording.text_of(events) == rollout.text
    kept = events[-1].rollout  # type: ignore[attr-defined]
    assert (kept.trajectory, kept.answer_text) == (rollout.trajectory, rollout.answer_text)
    assert (kept.text, kept.question) == (rollout.text, QUESTION)
    page.open(page.evaluate("location.href"))
    replayed(page, saved)
    assert tree_of(page) == tree


def replayed(page: Page, path: Path) -> None:
    """Opens a stored rollout and goes to its end."""
    page.choose_file("#file", path)
    page.until("!document.getElementById('scrub').disabled")
    page.tab_to("scrub")
    page.key("End")
    page.until(FINISHED)


def test_a_rollout_stored_by_the_engine_replays_and_can_be_scrubbed(page: Page, tmp_path: Path) -> None:
    events, rollout = rollout_of(POWERS)
    recording.write(tmp_path / "stored.jsonl", events)  # type: ignore[arg-type]
    replayed(page, tmp_path / "stored.jsonl")
    tree = tree_of(page)
    assert [block[2] for block in tree].count("completed") == 4
    assert page.text("#status").startswith("Replay of stored.jsonl: answered")
    page.key("ArrowLeft")
    page.until("!(" + FINISHED + ")")
    page.key("ArrowRight")
    page.until(FINISHED)
    assert tree_of(page) == tree
    assert rollout.question == QUESTION


def test_a_rollout_that_is_dropped_on_the_page_replays(page: Page) -> None:
    text = "".join(json.dumps(recording.to_line(event)) + "\n" for event in rollout_of(POWERS)[0])  # type: ignore[arg-type]
    page.evaluate(f"""(() => {{ const data = new DataTransfer();
        data.items.add(new File([{json.dumps(text)}], 'dropped.jsonl'));
        const options = {{dataTransfer: data, bubbles: true, cancelable: true}};
        for (const kind of ['dragenter', 'dragover', 'drop'])
            document.body.dispatchEvent(new DragEvent(kind, options)); }})()""")
    page.until(FINISHED)
    assert page.text("#asked") == QUESTION
    assert len(tree_of(page)) == 7


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("hello", "line 1 of bad.jsonl is not JSON"),
        ('{"kind": "round_started", "round": 1}\n{"kind": "delta"}', "line 2 of bad.jsonl is no event of a rollout"),
        (json.dumps({"kind": "round_started", "round": 10**9}), "its round is 1000000000"),
        (json.dumps({"kind": "__proto__"}), "its kind is __proto__"),
    ],
)
def test_a_file_that_is_no_rollout_is_refused_in_one_sentence(
    page: Page, tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(content)
    page.choose_file("#file", tmp_path / "bad.jsonl")
    page.until("!document.getElementById('error').hidden")
    assert says.casefold() in page.text("#error").casefold()


def test_a_long_replay_keeps_up(page: Page, tmp_path: Path) -> None:
    """12 rounds of 8 executions: the replay reaches its end with every block whole; the longest frame is printed."""
    words = "so the sum of $x_n^2$ over all n is at most $\\frac{a}{b}$ once more\n" * 12
    rounds = tuple(
        Round("\n".join(prompt(r, k, f"case {k}") for k in range(1, 9)), (Execution(words.strip()),) * 8)
        for r in range(1, 13)
    )
    recording.write(tmp_path / "long.jsonl", rollout_of(Trajectory(rounds, "\\boxed{1}"))[0])  # type: ignore[arg-type]
    page.evaluate("document.getElementById('speed').value = '1'")
    page.evaluate("""(() => { window.frames_ms = []; let last = performance.now();
        const look = (now) => { frames_ms.push(now - last); last = now; requestAnimationFrame(look) };
        requestAnimationFrame(look) })()""")
    page.choose_file("#file", tmp_path / "long.jsonl")
    page.until(FINISHED, 120)
    frames = sorted(page.evaluate("window.frames_ms"))
    print(f"{len(frames)} frames, median {frames[len(frames) // 2]:.0f} ms, longest {frames[-1]:.0f} ms")
    assert page.count(".lanes .block[data-outcome=completed]") == 96
    assert page.count(".lanes math") == 96 * 24
