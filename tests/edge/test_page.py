"""The page at `/`, in a headless Chromium: asked, watched, stopped, by mouse and keyboard, on a desk and a phone."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from serve_app.api.http_config import HttpConfig
from serve_app.page.web import POLICY
from sprint.errors import LLMUnavailable
from sprint.tags import prompt
from sprint.types import Execution, Round, Trajectory
from tests.edge.browser import CTRL, SHIFT, Page, browser
from tests.edge.page_server import POWERS, QUESTION, Service
from tests.edge.page_visit import FINISHED, RUNNING, answered, ask, counts_of, eventually, tree_of, visit

OVERFLOW = "document.documentElement.scrollWidth > innerWidth"


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


# --- ask and watch ----------------------------------------------------------------------------------------------------


def test_the_executions_of_a_round_are_on_screen_at_once_while_they_run(page: Page, service: Service) -> None:
    service.model.held.set()
    ask(page)
    page.until(f"document.querySelectorAll('{RUNNING}').length === 3")
    page.until(f"[...document.querySelectorAll('{RUNNING} .text')].every((text) => text.textContent.length > 3)")
    inside = """[...document.querySelectorAll('.lanes > .block')].map((block) => block.getBoundingClientRect())
        .every((box) => box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth)"""
    assert page.evaluate(inside), "an execution is outside the window"
    page.until("document.getElementById('status').textContent === 'Round 1: plan written, 3 executions run.'")
    assert "3 · 3 now" in page.text("#counts")
    assert page.count("#timeline .bar.running") == 3
    service.model.held.clear()
    page.until(FINISHED)
    assert page.count(RUNNING) == 0
    outcomes = [block[2] for block in tree_of(page)]
    assert outcomes == ["closed", "completed", "completed", "completed", "closed", "completed", "final"]


def test_the_answer_is_set_with_its_mathematics(page: Page) -> None:
    answered(page)
    assert page.count("#answer math mfrac") == 1
    assert page.evaluate("document.querySelector('#answer .boxed').textContent") == "9"
    assert page.text("#status").startswith("Answered after")


def test_the_counters_are_the_engines(page: Page, service: Service) -> None:
    answered(page)
    shown = counts_of(page)
    usage = service.usage()
    assert shown["Sequential"] == f"{usage['pipelined_tokens']:,}"
    assert shown["Generated"] == f"{usage['generated_tokens']:,}"
    assert shown["Ratio"] == f"{usage['pipelined_tokens'] / usage['generated_tokens']:.2f}"
    assert (shown["Rounds"], shown["Width"]) == ("2", "3")
    assert shown["Cached"].endswith("%")


def test_the_critical_path_takes_one_execution_of_each_round_at_most(page: Page) -> None:
    tree = answered(page)
    marked = [(part, title) for title, part, _, _, critical in tree if critical]
    assert [part for part, _ in marked if part != "execution"] == ["plan", "plan", "final"]
    rounds = [str(title)[0] for part, title in marked if part == "execution"]
    assert rounds
    assert len(set(rounds)) == len(rounds)
    assert page.count("#timeline .bar") == len(tree)
    assert page.count("#timeline .bar.critical") == len(marked)
    assert "Critical path: plan 1" in page.evaluate(
        "document.querySelector('#timeline svg').getAttribute('aria-label')"
    )


def test_stop_cancels_the_tree_on_the_engine_and_keeps_what_was_written(page: Page, service: Service) -> None:
    service.model.held.set()
    ask(page)
    page.until(f"document.querySelectorAll('{RUNNING}').length === 3")
    assert service.model.running == 3
    page.evaluate("document.getElementById('stop').click()")
    eventually(lambda: service.model.running == 0)
    page.until("document.getElementById('status').textContent.startsWith('Stopped by you')")
    tree = tree_of(page)
    assert [block[2] for block in tree[1:]] == ["cancelled"] * 3
    assert all(block[3] for block in tree)
    assert page.text("#error") == ""


def test_another_question_replaces_the_first(page: Page, service: Service) -> None:
    answered(page)
    service.says(Trajectory((), "Just $2$."))
    tree = answered(page, "1 + 1?")
    assert [block[:3] for block in tree] == [["Final answer", "final", "final"]]
    assert "Just" in page.text("#answer")


# --- keyboard and window ----------------------------------------------------------------------------------------------


def test_everything_is_done_by_keyboard_alone(page: Page, service: Service) -> None:
    service.model.held.set()
    page.tab_to("question")
    page.write(QUESTION)
    page.key("Enter", CTRL)
    page.until(f"document.querySelectorAll('{RUNNING}').length === 3")
    page.key("Escape")
    eventually(lambda: service.model.running == 0)
    service.says(POWERS)
    page.key("Tab")
    page.key("Enter", CTRL)
    page.until(FINISHED)
    page.tab_to("scrub")
    page.key("Home")
    page.until(f"!({FINISHED}) && document.querySelectorAll('#tree .block').length <= 1")
    page.key("End")
    page.until(FINISHED)
    page.evaluate("document.querySelector('.lanes .head').focus()")
    page.key(" ")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "what has the focus cannot be seen"
    page.key("Tab", SHIFT)
    assert page.evaluate("document.activeElement.tagName") in ("BUTTON", "SECTION", "DIV")


def test_every_control_has_a_name(page: Page) -> None:
    page.evaluate("document.getElementById('options').open = true")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "combobox", "slider", "spinbutton"}
    controls = [node for node in tree if node.get("role", {}).get("value") in roles]
    assert len(controls) >= 10
    assert [node for node in controls if not node["name"]["value"]] == []


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_never_scrolls_sideways(page: Page, service: Service, width: int) -> None:
    word = "x" * 400
    body = f"{word}\n{prompt(1, 1, word)}\n$${'+'.join(['a_{12}'] * 80)}$$"
    service.says(Trajectory((Round(body, (Execution(f"{word} ${'='.join(['b'] * 99)}$"),)),), f"\\boxed{{{word}}}"))
    page.window(width, 844, phone=True)
    page.evaluate("document.getElementById('options').open = true")
    assert not page.evaluate(OVERFLOW)
    answered(page, word)
    page.evaluate("document.querySelectorAll('.head').forEach((head) => head.click())")
    assert not page.evaluate(OVERFLOW)
    boxes = "[...document.querySelectorAll('#tree .block')].map((block) => block.getBoundingClientRect().right)"
    assert max(page.evaluate(boxes)) <= width


def test_rounds_stack_in_a_narrow_window_and_stand_side_by_side_in_a_wide_one(page: Page) -> None:
    answered(page)
    tops = "[...document.querySelectorAll('.round')].map((round) => round.getBoundingClientRect().top)"
    assert len(set(page.evaluate(tops))) == 1
    page.window(390, 844, phone=True)
    page.until(f"new Set({tops}).size === 3")


# --- hostile text and errors ------------------------------------------------------------------------------------------

HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'><svg onload='window.hit = 1'>"


def test_hostile_text_stays_text(page: Page, service: Service) -> None:
    text = f"{HOSTILE} $\\text{{{HOSTILE}}}$ $\\href{{javascript:window.hit=1}}{{x}}$"
    service.says(Trajectory((Round(f"{text}\n{prompt(1, 1, text)}", (Execution(text),)),), text))
    before = page.count("script, img, svg, a, iframe")
    tree = answered(page, HOSTILE)
    assert all(HOSTILE in str(block[3]) for block in tree)
    assert HOSTILE in page.text("#answer")
    assert page.count("script, img, svg, a, iframe") == before + 1, "more than the timeline was added"
    assert page.evaluate("typeof window.hit") == "undefined"


def test_what_goes_wrong_is_said_in_words(page: Page, service: Service) -> None:
    def refuses(_: str) -> str:
        raise LLMUnavailable("the model's replicas are all busy")

    service.says(refuses)
    ask(page)
    page.until("!document.getElementById('error').hidden")
    assert "replicas are all busy" in page.text("#error")
    assert page.evaluate("document.getElementById('ask').disabled") is False
    service.says(POWERS)
    answered(page)
    assert page.evaluate("document.getElementById('error').hidden")


def test_a_key_is_asked_for_in_words_and_kept_in_the_tab_alone(chromium: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_TEST_KEYS", "open-sesame-0123456789")
    with Service(HttpConfig(keys_env="PAGE_TEST_KEYS")).running() as locked:
        chromium.open(f"{locked.url}/")
        chromium.until("document.getElementById('model-shown').textContent.includes('Put an API key under Options.')")
        chromium.evaluate("document.getElementById('options').open = true; document.getElementById('key').focus()")
        chromium.write("open-sesame-0123456789")
        chromium.key("Tab")
        chromium.until("document.getElementById('model').value === 'scripted'")
        assert answered(chromium)[-1][1] == "final"
        chromium.open(f"{locked.url}/")
        chromium.until("document.getElementById('model').value === 'scripted'")
        stores = "[JSON.stringify(localStorage), document.cookie, location.href]"
        assert not [store for store in chromium.evaluate(stores) if "sesame" in store]


def test_an_empty_question_is_not_sent(page: Page) -> None:
    page.evaluate("document.getElementById('ask').click()")
    assert page.focused() == "question"
    assert page.evaluate("document.getElementById('question').validationMessage") == "Write a question first."
    assert not [url for url in page.requests if "chat" in url]


# --- how it is served -------------------------------------------------------------------------------------------------


def test_the_pages_files_are_served_with_their_policy_and_nothing_else_is(service: Service) -> None:
    with httpx.Client(base_url=service.url) as client:
        index = client.get("/")
        assert index.headers["content-security-policy"] == POLICY
        assert not [word for word in ("unsafe", "http", "*", "data:") if word in POLICY]
        assert not [word for word in ("<script>", "<style", "style=", "://") if word in index.text]
        script = client.get("/static/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert client.get("/static/app.js", headers={"if-none-match": script.headers["etag"]}).status_code == 304
        for path in ("/static/web.py", "/static/..%2fweb.py", "/static/", "/static/none.js"):
            assert client.get(path).status_code == 404, path
