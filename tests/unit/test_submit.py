"""`sprint submit` up to the cluster's door: what is checked here, and the line that is printed."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sprint.cli import main
from sprint.errors import ConfigError, SprintError
from sprint.jobs import Jobs, _refusal
from sprint.submit import JobSpec, attempt_id, attempt_of, checked_stage

CURATE = ["curate", "s3://bucket/a b", "--out", "s3://bucket/c"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["submit", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.removeprefix("error: ")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["submit", "--print", *words]) == 0
    return capsys.readouterr().out


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*CURATE, "--min-ration", "2"], "curate: No such option: --min-ration"),
        ([*CURATE, "--min-ratio", "two"], "'min_ratio' is 'two'"),
        ([*CURATE, "--no-wait"], "options of submit stand before curate"),
        (["curate", "x"], "out is not given: expected an absolute path on storage that all nodes share"),
        (["curate", "x", "--out", "here"], "out is 'here', which on the cluster would end with the job"),
        (["train", "/s/c", "--name", "a"], "out is 'runs', which on the cluster would end with the job"),
        (["train", "/s/c", "--name", "a", "--out", "/s", "--export", "m"], "export is 'm', which on the cluster"),
        (["evaluate", "--task", "chains", "--out", "/s/e.jsonl", "--nodes", "a=b"], "nodes is of use to a batch only"),
        (["serve", "model"], "a service is no job, deploy it with `serve deploy`"),
        (["submit", *CURATE], "'submit' cannot be a job: expected one of: curate, train, evaluate"),
        (["--env", "NOT_SET_HERE", *CURATE], "env: NOT_SET_HERE is not set here"),
        (["--env", "A=b", *CURATE], "expected the name of a variable alone"),
        (["--name", "a b", *CURATE], "expected letters, digits"),
        (["--working-dir", "nowhere", *CURATE], "working_dir: nowhere is no folder"),
        (["--address", "http://127.0.0.1:1", *CURATE], "no Ray dashboard answers at http://127.0.0.1:1 ("),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_sent(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in said(capsys, *words)


def test_a_configuration_file_here_is_read_and_one_on_the_cluster_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("min_ration: 2\n")
    with pytest.raises(ConfigError, match="unknown key 'min_ration'"):
        checked_stage([*CURATE, "--config", "own.yaml"])
    assert checked_stage(["curate", "--config", "/shared/theirs.yaml"]).words == ("--config", "/shared/theirs.yaml")


def test_help_of_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "curate", "--help"]) == 0
    assert "--min-ratio" in capsys.readouterr().out
    assert main(["submit", "--help"]) == 0
    assert "--working-dir" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "resumes"),
    [
        (CURATE, True),
        ([*CURATE, "--resume"], False),
        (["train", "/s/c", "--name", "a", "--out", "/s"], True),
        (["evaluate", "--task", "chains", "--out", "/s/e.jsonl"], True),
        (["report", "/s/e.jsonl", "--out", "/s/r.html"], False),
        (["curate", "inspect", "/s/c", "trace-1"], False),
    ],
)
def test_only_what_can_go_on_is_told_to(words: list[str], resumes: bool) -> None:
    assert checked_stage(words).resumes is resumes


# --- the line --------------------------------------------------------------------------------------------------------


def test_the_line_is_what_a_shell_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(printed(capsys, "--name", "cur", "--driver-nodes", "sprint/pool=curation", *CURATE))
    assert words[:5] == ["ray", "job", "submit", "--address", "http://127.0.0.1:8265"]
    assert words[words.index("--submission-id") + 1] == "cur"
    assert json.loads(words[words.index("--entrypoint-label-selector") + 1]) == {"sprint/pool": "curation"}
    assert words[words.index("--") + 1 :] == ["python", "-m", "sprint.cli", *CURATE]
    assert "--working-dir" not in words


def test_a_secret_is_named_and_not_shown_and_the_shell_puts_it_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret $HOME `x`")
    monkeypatch.setenv("OTHER", "two words")
    line = printed(capsys, "--env", "MY_KEY", "--env", "OTHER", *CURATE)
    assert "s3cret" not in line
    shown = subprocess.run(["sh", "-c", f"ray() {{ printf '%s\\n' \"$@\"; }}; {line}"], capture_output=True, check=True)
    given = shown.stdout.decode().splitlines()
    values = json.loads(given[given.index("--runtime-env-json") + 1])
    assert values == {"env_vars": {"MY_KEY": "s3cret $HOME `x`", "OTHER": "two words"}}


def test_the_address_asked_for_stands_above_the_environments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://of-env:8265")
    assert printed(capsys, *CURATE).startswith("ray job submit --address http://of-env:8265 ")
    line = printed(capsys, "--address", "http://mine:8265", *CURATE)
    assert line.startswith("RAY_API_SERVER_ADDRESS=http://mine:8265 ray job submit --address http://mine:8265 ")


def test_a_checkout_is_sent_along_unless_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert " --working-dir . " in printed(capsys, *CURATE)
    assert "--working-dir" not in printed(capsys, "--working-dir", "none", *CURATE)
    assert " --working-dir s3://b/code.zip " in printed(capsys, "--working-dir", "s3://b/code.zip", *CURATE)


# --- tries -----------------------------------------------------------------------------------------------------------


def test_the_number_of_a_try_stands_in_its_id() -> None:
    assert [attempt_of(attempt_id("cur", number), "cur") for number in (1, 2, 31)] == [1, 2, 31]
    assert [attempt_of(id, "cur") for id in ("cure", "cur.x", "a.cur", "cur.2.3", None)] == [0] * 5
    spec = JobSpec("cur", "http://x", ("python", "-m", "sprint.cli", "curate"), "", {}, {}, 0.0).resumed(2)
    assert (spec.id, spec.entrypoint[-1]) == ("cur.2", "--resume")


class Client:
    """The jobs of a cluster that is not there."""

    def __init__(self, *jobs: tuple[str, str]) -> None:
        self.jobs = [SimpleNamespace(submission_id=id, status=Status(status)) for id, status in jobs]
        self.sent: list[dict[str, Any]] = []
        self.refusals: list[str] = []

    def list_jobs(self) -> list[Any]:
        return self.jobs

    def submit_job(self, **told: Any) -> str:
        if self.refusals:
            raise RuntimeError(self.refusals.pop())
        self.sent.append(told)
        return str(told["submission_id"])


class Status(str):
    def is_terminal(self) -> bool:
        return self not in ("PENDING", "RUNNING")


def jobs(client: Client) -> Jobs:
    made = Jobs.__new__(Jobs)
    made.address, made._client = "http://x", client
    return made


def test_a_name_is_tried_again_after_a_failure_only() -> None:
    assert jobs(Client(("other", "RUNNING"))).next_attempt("cur") == 1
    assert jobs(Client(("cur", "FAILED"))).next_attempt("cur") == 2
    assert jobs(Client(("cur.10", "STOPPED"), ("cur", "FAILED"), ("cur.9", "FAILED"))).next_attempt("cur") == 11
    with pytest.raises(ConfigError, match=r"^job cur\.2 has not ended: follow it with `ray job logs -f"):
        jobs(Client(("cur", "FAILED"), ("cur.2", "RUNNING"))).next_attempt("cur")
    with pytest.raises(ConfigError, match=r"^job cur has done its work, expected another name$"):
        jobs(Client(("cur", "SUCCEEDED"))).next_attempt("cur")


def test_a_cluster_that_has_just_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sprint.jobs.time.sleep", lambda seconds: None)
    client = Client()
    client.refusals = ["Request failed with status code 500: No available agent to submit job."] * 3
    spec = JobSpec("cur", "http://x", ("python", "a b"), ".", {"KEY": "v"}, {"sprint/pool": "gpu"}, 2.0)
    jobs(client).send(spec)
    assert client.sent == [
        {
            "entrypoint": "python 'a b'",
            "submission_id": "cur",
            "runtime_env": {"working_dir": ".", "env_vars": {"KEY": "v"}},
            "entrypoint_label_selector": {"sprint/pool": "gpu"},
            "entrypoint_num_cpus": 2.0,
        }
    ]
    client.refusals = ["Request failed with status code 400: no such thing\nTraceback"]
    with pytest.raises(SprintError, match=r"^http://x refuses the job: .* no such thing$"):
        jobs(client).send(spec)


def test_a_folder_that_is_too_large_is_a_sentence_about_it() -> None:
    said = "Package size (900.00MiB) exceeds the maximum size of 500.00MiB. To exclude large files, add them to '.git"
    assert _refusal("http://x", said) == (
        "working_dir: Package size (900.00MiB) exceeds the maximum size of 500.00MiB; "
        "name what is not needed in .rayignore"
    )
