"""The command line: every option is a field, every mistake one sentence, every child stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from sprint.card import Method
from sprint.cli import COMMANDS, main
from sprint.commandline import command_of, read_options
from sprint.config import StrictModel
from sprint.demo import SIZES, DemoConfig, steps
from sprint.errors import ConfigError, SprintError
from sprint.steps import Runner, Step, StepFailed

ROOT = Path(__file__).parents[2]
PROCESSES = Path("/proc")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- help and mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: sprint {name}" in out
    assert "Example: sprint" in out or name == "version"
    for field in COMMANDS[name].config().model_fields:
        assert field in COMMANDS[name].arguments or f"--{field.replace('_', '-')}" in out


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("train --nope 1", "No such option: --nope"),
        ("train data", "'name' is missing"),
        ("train data --name a/b", "'name' is 'a/b': expected a plain folder name"),
        ("train nowhere --name x --epochs -1", "'epochs' is '-1': input should be greater than 0"),
        ("train nowhere --name x --layout round", "'layout' is 'round'"),
        ("curate --out x", "'inputs' is missing"),
        ("curate nowhere.jsonl --out x", "nowhere.jsonl does not exist"),
        ("curate x.jsonl --out x --columns thought", "'columns' is 'thought', expected KEY=VALUE"),
        ("curate --config nowhere.yaml", "configuration file nowhere.yaml does not exist"),
        ("serve nowhere", "model folder nowhere does not exist"),
        ("serve nowhere --port 0", "'port' is '0'"),
        ("evaluate --out x", "expected either a task"),
        ("evaluate --out x --task chess", "unknown task 'chess'"),
        ("evaluate --out x --task chains --temperature -1", "'temperature' is '-1'"),
        ("evaluate --out x --task chains --n many", "'n' is 'many': input should be a valid integer"),
        ("evaluate --out x --data nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("report nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("generate chains --out x --task-options num_chains=99", "'num_chains' is 99, expected a whole number"),
        ("generate chains --out x --task-options size=1", "no option 'size'"),
        ("demo --task sudoku", "'task' is 'sudoku'"),
        ("ask", "'question' is missing"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *words.split())
    assert code == 2
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_file_is_read_strictly(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("data: x\nname: y\nlearning_rat: 1\n")
    code, _, err = run(capsys, "train", "--config", str(path))
    assert code == 2
    assert "unknown key 'learning_rat'" in err


def test_an_interruption_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sprint.generate.generate", interrupted)
    assert main(["generate", "chains", "--out", "x"]) == 130


def test_traces_are_written_as_curation_reads_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "traces.jsonl"
    assert run(capsys, "generate", "chains", "--n", "3", "--out", str(out))[0] == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 3
    assert set(rows[0]) >= {"id", "question", "reasoning", "answer", "response", "closed"}


# --- options from a model --------------------------------------------------------------------------------------------


class Sample(StrictModel):
    """A model with a field of every shape.

    number        a number,
                  on two lines
    on, kind      a switch and a choice
    """

    paths: tuple[Path, ...] = ()
    number: int | None = None
    on: bool = True
    kind: Literal["a", "b"] = "a"
    method: Method = Method.RFT
    values: dict[str, Any] = Field(default_factory=dict, description="described in place")


def test_options_reach_the_model_with_their_types(tmp_path: Path) -> None:
    seen: list[Any] = []
    file = tmp_path / "sample.yaml"
    file.write_text("number: 1\nkind: b\n")
    command = command_of(Sample, seen.append, "about", {"paths": "PATH"})
    command(config=str(file), paths=["x", "y"], number="7", on=False, method="sprint", values=["a=1", "b=true"])
    expected = {"paths": (Path("x"), Path("y")), "number": 7, "on": False, "kind": "b", "method": Method.SPRINT}
    assert seen == [Sample(**expected, values={"a": 1, "b": True})]


def test_what_is_not_given_is_left_to_the_model() -> None:
    assert read_options(Sample, {"number": None, "paths": [], "on": None}) == {}


def test_pairs_need_a_key_and_a_value() -> None:
    for text in ("a", "=1", "a=[1"):
        with pytest.raises(ConfigError):
            read_options(Sample, {"values": [text]})


def test_help_comes_from_the_field_or_from_the_docstring() -> None:
    from sprint.commandline import _documented

    assert _documented(Sample) == {
        "number": "a number, on two lines", "on": "a switch and a choice", "kind": "a switch and a choice",
    }  # fmt: skip


# --- steps -----------------------------------------------------------------------------------------------------------


def step(out: Path, n: int = 1, **more: Any) -> Step:
    return Step("write", ("generate", "chains", f"--n={n}", f"--out={out}"), **more)


def test_a_finished_step_is_not_run_again_until_it_or_one_before_it_changes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"

    def both(n: int) -> tuple[int, int]:
        with Runner(tmp_path / "run") as runner:
            runner.run([step(first, n, makes=(first,)), step(second, makes=(second,))])
        return first.stat().st_ino, second.stat().st_ino

    begun = both(1)
    assert both(1) == begun
    changed = both(2)
    assert changed[0] != begun[0]
    assert changed[1] != begun[1]


def test_a_failing_step_stops_the_rest_and_shows_its_last_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "never.jsonl"
    with Runner(tmp_path / "run") as runner, pytest.raises(StepFailed, match=r"exit code 2.*1-report\.log"):
        runner.run([Step("compare", ("report", "nowhere.jsonl")), step(out)])
    assert "nowhere.jsonl does not exist" in capsys.readouterr().err
    assert not out.exists()


def test_a_server_that_ends_before_it_answers_fails_the_step(tmp_path: Path) -> None:
    waits = step(tmp_path / "x", server=("serve", "nowhere"), ready=tmp_path / "ready")
    with Runner(tmp_path / "run") as runner, pytest.raises(StepFailed, match="serve"):
        runner.run([waits])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whatever_ends_the_runner_ends_its_children(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import signal, sys, time; from pathlib import Path; from sprint.steps import Runner\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a parent in the background has it ignored
        "with Runner(Path(sys.argv[1])) as runner:\n"
        "    child = runner._start(('version',), Path(sys.argv[1]) / 'log')\n"
        "    child.wait(); runner.children.clear()\n"
        "    import subprocess\n"
        "    sleeper = subprocess.Popen(['sleep', '600'], start_new_session=True, text=True)\n"
        "    runner.children.append(sleeper); print(sleeper.pid, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    runner = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert runner.stdout
    child = int(runner.stdout.readline())
    assert (PROCESSES / str(child)).exists()
    os.kill(runner.pid, number)
    assert runner.wait(timeout=60) != 0
    deadline = time.monotonic() + 10
    while (PROCESSES / str(child)).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (PROCESSES / str(child)).exists()


# --- the demo --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "quick"), sorted(SIZES))
def test_every_step_of_the_demo_is_a_valid_command(tmp_path: Path, task: Any, quick: bool) -> None:
    config = DemoConfig(task=task, quick=quick, out=tmp_path)
    for planned in steps(config, config.folder):
        for words in filter(None, (planned.words, planned.server)):
            _parse(words)


def _parse(words: tuple[str, ...]) -> None:
    """Read a command line up to the call of its room."""
    import typer

    known = COMMANDS[words[0]]
    seen: list[Any] = []
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)
    app.command(words[0])(command_of(known.config(), seen.append, "", known.arguments))
    app(list(words), standalone_mode=False)
    assert len(seen) == 1


def test_the_demo_does_not_write_into_a_folder_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").touch()
    code, _, err = run(capsys, "demo", "--out", str(tmp_path))
    assert code == 2
    assert "--resume" in err


def test_errors_meant_for_people_are_of_one_family() -> None:
    assert issubclass(StepFailed, SprintError)


def test_a_mistake_that_quotes_data_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any, **options: Any) -> None:
        raise SprintError("row \x1b]0;pwned\x07 \x9b31m\r \ud800\tis odd\nindeed")

    monkeypatch.setattr("sprint.commandline.application", lambda *arguments: failing)
    code, _, err = run(capsys, "curate", "x")
    assert code == 2
    assert err == "error: row \ufffd]0;pwned\ufffd \ufffd31m\ufffd \ufffd\tis odd\nindeed\n"
