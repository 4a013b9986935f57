"""The page's parts, evaluated in the browser they are written for: mathematics, events, times, the critical path."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sprint import recording
from sprint.types import Trajectory
from tests.edge.browser import Page, browser
from tests.edge.page_server import POWERS, QUESTION, Service, rollout_of
from tests.unit.strategies import trajectories

SEVERAL = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with Service().running() as service, browser() as opened:
        opened.open(f"{service.url}/")
        yield opened
        assert (opened.violations, opened.errors) == ([], [])


def run(page: Page, module: str, body: str, *values: Any) -> Any:
    """What `body` returns, with the module's exports as `m` and `values` as `v`."""
    given_values = json.dumps(values, default=str)
    return page.evaluate(f"import('/static/{module}').then((m) => {{ const v = {given_values}; {body} }})")


# --- mathematics ------------------------------------------------------------------------------------------------------

SET = {
    r"\frac{1}{2}": "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>",
    r"\frac12": "<mfrac><mn>1</mn><mn>2</mn></mfrac>",
    r"\sqrt[3]{x}": "<mroot><mrow><mi>x</mi></mrow><mrow><mn>3</mn></mrow></mroot>",
    r"x_1^{2}": "<msubsup><mi>x</mi><mn>1</mn><mrow><mn>2</mn></mrow></msubsup>",
    r"f'": "<msup><mi>f</mi><mo>′</mo></msup>",
    r"\alpha\cdot\beta": "<mi>α</mi><mo>⋅</mo><mi>β</mi>",
    r"a \times b": "<mi>a</mi><mo>×</mo><mi>b</mi>",
    r"\boxed{9}": '<mrow class="boxed"><mrow><mn>9</mn></mrow></mrow>',
    r"x = -1": '<mi>x</mi><mo>=</mo><mo form="prefix">−</mo><mn>1</mn>',
    r"3-2": "<mn>3</mn><mo>−</mo><mn>2</mn>",
    r"\text{a {b} c}": "<mtext>a b c</mtext>",
    r"\sin x": '<mi mathvariant="normal">sin</mi><mi>x</mi>',
    r"\sum_{i=1}^n": "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>",
    r"\mathbb{R}": '<mrow class="variant-double"><mrow><mi mathvariant="normal">ℝ</mi></mrow></mrow>',
    r"1{,}000\%": "<mn>1</mn><mrow><mo>,</mo></mrow><mn>000</mn><mi>%</mi>",
    r"\not=": "<mo>=\u0338</mo>",
}
PROSE = "const d = document.createElement('div'); d.append(...m.prose(v[0]));"
UNKNOWN = [
    r"\href{javascript:alert(1)}{x}",
    r"\unknown",
    r"\frac{1}",
    r"{",
    r"}",
    r"a & b",
    r"\left( x",
    r"\begin{tikzpicture}\end{tikzpicture}",
    r"\begin{matrix} 1 \end{pmatrix}",
    r"\constructor",
    r"\__proto__",
    r"\sqrt" * 100 + "x",
    "{" * 100 + "}" * 100,
    "x" * 5000,
]


@pytest.mark.parametrize("tex", SET)
def test_known_tex_is_set_as_mathml(page: Page, tex: str) -> None:
    html = run(page, "math.js", "return m.math(v[0]).firstChild.innerHTML", tex)
    assert html == SET[tex]


@pytest.mark.parametrize(
    ("tex", "rows", "columns"),
    [
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", 2, 2),
        (r"\begin{cases} x & x > 0 \\ -x & \text{else} \\ \end{cases}", 2, 2),
        (r"\begin{array}{c|c} 1 & 2 & 3 \end{array}", 1, 3),
        (r"\left[\begin{matrix} 1 \\ 2 \\ 3 \end{matrix}\right]", 3, 1),
    ],
)
def test_matrices_have_their_rows_and_columns(page: Page, tex: str, rows: int, columns: int) -> None:
    shape = "const t = m.math(v[0]).querySelector('mtable'); return [t.children.length, t.firstChild.children.length]"
    assert run(page, "math.js", shape, tex) == [rows, columns]


@pytest.mark.parametrize("tex", UNKNOWN, ids=lambda tex: tex[:24])
def test_unknown_tex_is_shown_as_it_was_written(page: Page, tex: str) -> None:
    assert run(page, "math.js", "return m.math(v[0])", tex) is None
    shown = f"{PROSE} return [d.textContent, d.querySelectorAll('math').length]"
    assert run(page, "math.js", shown, f"so \\({tex}\\)") == [f"so \\({tex}\\)", 0]


def test_prose_sets_mathematics_and_leaves_money_alone(page: Page) -> None:
    text = "It costs $5 or $6: $x^2$, \\(y\\), \\[z\\], $$w$$, \\boxed{\\frac{1}{2}}. **Bold** and `code`, \\boxed{open"
    shown = f"""{PROSE} const all = (name) => [...d.querySelectorAll(name)].map((node) => node.textContent);
        return [all('math'), all('strong'), all('code'), d.textContent]"""
    formulas, bold, code, whole = run(page, "math.js", shown, text)
    assert (formulas, bold, code) == (["x2", "y", "z", "w", "12"], ["Bold"], ["code"])
    assert whole.startswith("It costs $5 or $6: x2")
    assert whole.endswith("\\boxed{open")


@pytest.mark.parametrize("piece", ["$", "$$", "\\(", "\\[", "\\boxed{", "**", "`", "$x", "<prompt_1.1>", "\\"])
def test_a_text_full_of_marks_is_kept_whole(page: Page, piece: str) -> None:
    text = piece * 20_000
    kept = run(page, "math.js", f"{PROSE} return d.textContent", text)
    assert set(kept) <= set(text)
    assert len(kept) > len(text) // 4


# --- events -----------------------------------------------------------------------------------------------------------

FOLD = """const s = m.newRollout(v[1]); v[0].forEach((event, index) => m.take(s, event, index));
    const runs = (round) => round.runs.map((run) => [run.instruction, run.text, run.outcome]);
    const shown = (round) => ({...round.plan, joined: round.joined !== null, runs: runs(round)});
    return {phase: s.phase, open: m.running(s).length, rounds: s.rounds.map(shown)}"""


def lines_of(trajectory: Trajectory) -> tuple[list[dict[str, Any]], Any]:
    events, rollout = rollout_of(trajectory)
    return [json.loads(json.dumps(recording.to_line(event))) for event in events], rollout  # type: ignore[arg-type]


@given(trajectory=trajectories())
@SEVERAL
def test_events_fold_into_the_trajectory(page: Page, trajectory: Trajectory) -> None:
    lines, rollout = lines_of(trajectory)
    folded = run(page, "rollout.js", FOLD, lines, QUESTION)
    assert (folded["phase"], folded["open"]) == ("finished", 0)
    joined = [shown for shown in folded["rounds"] if shown["joined"]]
    assert len(joined) == len(rollout.trajectory.rounds)
    for shown, told in zip(joined, rollout.trajectory.rounds, strict=True):
        assert [(text, outcome) for _, text, outcome in shown["runs"]] == [(e.text, e.outcome) for e in told.executions]
    assert folded["rounds"][-1]["part"] == "final"


@given(trajectory=trajectories())
@SEVERAL
def test_what_a_stream_tells_becomes_the_rollout_of_a_recording(page: Page, trajectory: Trajectory) -> None:
    lines, rollout = lines_of(trajectory)
    told = {"kind": "finished", "stop_reason": rollout.stop_reason, "usage": rollout.usage.as_dict()}
    totals = {"timeline": [dataclasses.asdict(span) for span in rollout.timeline]}
    body = "return m.fromLines(m.toLines([...v[1], m.finishedEvent(v[0], v[1], v[2], v[3], v[4])]))"
    made = run(page, "recording.js", body, QUESTION, lines[:-1], told, rollout.answer_text, totals)
    again = recording.from_line(made[-1]).rollout  # type: ignore[attr-defined]
    assert again == dataclasses.replace(rollout, question=QUESTION, prompt_ids=(), token_ids=())


def test_a_discarded_plan_and_a_rollout_begun_again_leave_nothing(page: Page) -> None:
    def plan(text: str) -> dict[str, Any]:
        return {"kind": "delta", "part": "plan", "round": 1, "number": 0, "text": text}

    started = {"kind": "round_started", "round": 1}
    run_started = {"kind": "execution_started", "round": 1, "number": 1, "instruction": "a"}
    for round in (0, 1):
        discarded = {"kind": "discarded", "round": round}
        events = [started, plan("long"), run_started, discarded, started, plan("short")]
        (only,) = run(page, "rollout.js", FOLD, events, "")["rounds"]
        assert (only["text"], only["runs"]) == ("short", [])


def test_events_of_a_newer_server_change_nothing(page: Page) -> None:
    events = [{"kind": "toString"}, {"kind": "weather", "sun": 1}]
    assert run(page, "rollout.js", FOLD, events, "") == {"phase": "waiting", "open": 0, "rounds": []}


@given(trajectory=trajectories())
@SEVERAL
def test_a_replays_times_never_go_back_and_end_with_the_rollout(page: Page, trajectory: Trajectory) -> None:
    lines, rollout = lines_of(trajectory)
    for events in (lines, lines[:-1]):
        times, duration = run(page, "clock.js", "const t = m.timesOf(v[0]); return [t, m.durationOf(v[0], t)]", events)
        assert times == sorted(times)
        assert len(times) == len(events)
        assert duration >= times[-1]
    starts = [time for event, time in zip(lines, run(page, "clock.js", "return m.timesOf(v[0])", lines), strict=True)
              if event["kind"] == "execution_started"]  # fmt: skip
    assert all(start <= rollout.usage.wall_s for start in starts)


def test_the_path_goes_through_the_execution_that_everyone_waited_for(page: Page) -> None:
    def bar(round: int, row: int, start: float, end: float, outcome: str = "completed") -> dict[str, Any]:
        return {"key": f"{round}.{row}", "round": round, "row": row, "start": start, "end": end, "outcome": outcome}

    bars = [bar(1, 0, 0, 4), bar(1, 1, 1, 3), bar(1, 2, 2, 9), bar(1, 3, 3, 10, "cancelled")]
    bars += [bar(2, 0, 9, 12), bar(2, 1, 10, 11), bar(3, 0, 12, 13)]
    keys = run(page, "path.js", "m.markCritical(v[0]); return [...m.criticalKeys(v[0])]", bars)
    assert keys == ["1.0", "1.2", "2.0", "3.0"], "round 2 waited for its plan alone"


def test_estimates_are_marked_and_become_the_engines_counts(page: Page) -> None:
    lines, rollout = lines_of(POWERS)
    body = """return import('/static/counts.js').then((c) => { const s = m.newRollout('');
        v[0].forEach((event, index) => m.take(s, event, index));
        return Object.fromEntries(c.countsOf(s).map(([name, value]) => [name, value])) })"""
    before, after = (run(page, "rollout.js", body, events) for events in (lines[:-1], lines))
    assert before["Generated"] == f"≈ {rollout.usage.generated_tokens:,}"
    assert after["Generated"] == f"{rollout.usage.generated_tokens:,}"
    about = int(before["Sequential"].removeprefix("≈ ").replace(",", ""))
    assert abs(about / rollout.usage.pipelined_tokens - 1) < 0.1


# --- a stream that breaks ---------------------------------------------------------------------------------------------

STREAM = """const real = window.fetch; const text = new TextEncoder().encode(v[0]); let sent = false;
    window.fetch = async () => new Response(new ReadableStream({ pull(c) {
        if (!sent) { sent = true; c.enqueue(text); }
        else if (v[1]) c.error(new TypeError('gone'));
        else c.close(); } }));
    const got = []; const read = async () => { for await (const e of m.ask({question: 'q'}, '')) got.push(...e); };
    return read().then(() => '', (error) => `${error.constructor.name}: ${error.message}`)
        .then((failure) => { window.fetch = real; return [failure, got.map((e) => e.kind)]; })"""
STARTED = 'data: {"choices": [], "sprint_event": {"kind": "round_started", "round": 1, "choice": 0}}\r\n\r\n: alive\n\n'


@pytest.mark.parametrize(
    ("after", "breaks", "says"),
    [
        ("", True, "The connection was lost"),
        ("", False, "The stream ended before the answer was complete"),
        ("data: {oops\n\n", False, "The server sent something that is not JSON"),
        ('data: {"error": {"message": "the model is gone"}}\n\n', False, "The model is gone."),
        ("data: [DONE]\n\n", False, "The server sent no events"),
    ],
)
def test_a_stream_that_breaks_is_told_in_words_and_what_came_is_kept(
    page: Page, after: str, breaks: bool, says: str
) -> None:
    failure, kinds = run(page, "ask.js", STREAM, STARTED + after, breaks)
    assert failure.startswith(f"AskFailed: {says}")
    assert kinds == ["round_started"]
