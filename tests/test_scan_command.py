"""The commands `leaksafe` and `leaksafe scan`, as a shell sees them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from leaksafe.__main__ import main

pytestmark = pytest.mark.thread_unsafe(reason="the one sys.stdout, and processes")

LEAK = """\
_cache = {}

def look_up(key):
    if key not in _cache:
        _cache[key] = key + key
    return _cache[key]
"""
LIST = """\
log = []

def note(what):
    log.append(what)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a leak in each of three files, in which the command runs."""
    for name, source in {
        "app.py": LEAK,
        "sub/log.py": LIST,
        "tests/test_app.py": LEAK,
        "sub/clean.py": "",
        "sub/notes.txt": LEAK,
        ".venv/lib/leak.py": LEAK,
        "build/leak.py": LEAK,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[str, str, int]]:
    """Path, code and line of each finding; the exit status must agree."""
    status = main(["scan", "--format", "json", *arguments])
    rows = json.loads(capsys.readouterr().out)
    assert status == (1 if rows else 0)
    return [(row["path"], row["code"], row["line"]) for row in rows]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of wrong arguments."""
    with pytest.raises(SystemExit) as ended:
        main(["scan", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


APP, LOG, TEST = (
    ("app.py", "LS001", 1),
    ("sub/log.py", "LS004", 1),
    ("tests/test_app.py", "LS001", 1),
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [APP, LOG, TEST]),
        (["."], [APP, LOG, TEST]),
        (["sub"], [LOG]),
        (["sub/log.py", "app.py", "sub"], [APP, LOG]),
        (["sub/clean.py"], []),
        (["sub/notes.txt"], [("sub/notes.txt", "LS001", 1)]),
        (["build"], [("build/leak.py", "LS001", 1)]),
        (["--select", "LS004"], [LOG]),
        (["--select", "LS001,LS004"], [APP, LOG, TEST]),
        (["--ignore", "LS001"], [LOG]),
        (["--ignore", "LS"], []),
        (["--select", "LS001", "--ignore", "LS001"], []),
        (["--exclude", "tests"], [APP, LOG]),
        (["--exclude", "test_*,log.py"], [APP]),
        (["--exclude", "sub/log.py"], [APP, TEST]),
        (["--exclude", "sub/log.py", "sub"], []),
        (["--exclude", "s*/"], [APP, TEST]),
        (["--exclude", "app.py", "app.py"], [APP]),
    ],
)
def test_what_is_scanned(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: list[tuple[str, str, int]],
) -> None:
    assert found(capsys, *arguments) == expected


@pytest.mark.parametrize(
    ("settings", "arguments", "expected"),
    [
        ('select = ["LS004"]', [], [LOG]),
        ('ignore = ["LS001"]', [], [LOG]),
        ('exclude = ["tests/", "sub"]', [], [APP]),
        ('select = ["LS004"]', ["--select", "LS001"], [APP, TEST]),
        ('exclude = ["tests"]', ["--ignore", "LS001"], [LOG]),
        ("", [], [APP, LOG, TEST]),
    ],
)
def test_settings_of_a_project(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    settings: str,
    arguments: list[str],
    expected: list[tuple[str, str, int]],
) -> None:
    (project / "pyproject.toml").write_text(f"[tool.leaksafe.scan]\n{settings}\n")
    (project / "sub" / "pyproject.toml").write_text("[project]\nname = 'sub'\n")
    assert found(capsys, *arguments) == expected
    if not arguments:
        wants_lists = "LS004" in settings or "select" not in settings
        assert found(capsys, "sub") == ([LOG] if wants_lists else [])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[tool.leaksafe.scan]\nselect = ["LS999"]', "no rule is called 'LS999', there are LS001"),
        ('[tool.leaksafe.scan]\nselect = "LS001"', "must be a list of strings, not 'LS001'"),
        ("[tool.leaksafe.scan]\nexclude = [1]", "must be a list of strings, not [1]"),
        ("[tool.leaksafe.scan]\nselct = []", "selct is unknown, there are select, ignore, exclude"),
        ("[tool.leaksafe]\nscan = 1", "must be a table"),
        ("[tool", "pyproject.toml: "),
    ],
)
def test_settings_that_cannot_be_meant(
    project: Path, capsys: pytest.CaptureFixture[str], settings: str, said: str
) -> None:
    (project / "pyproject.toml").write_text(settings)
    assert said in refused(capsys)


def test_settings_may_be_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "own.toml").write_text('[tool.leaksafe.scan]\nselect = ["LS004"]\n')
    assert found(capsys, "--config", "own.toml") == [LOG]
    assert "no.toml" in refused(capsys, "--config", "no.toml")


def test_wrong_arguments(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no rule is called 'E501'" in refused(capsys, "--select", "E501")
    assert "there is no nowhere" in refused(capsys, "nowhere")
    assert "xml" in refused(capsys, "--format", "xml")


def test_text_says_where_what_why_and_the_cure(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", "app.py"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("app.py:1:1: LS001 _cache")
    assert "look_up (line 3)" in lines[1]
    assert "LRUCache" in lines[2]
    assert lines[3:] == ["1 finding in 1 file"]
    assert main(["scan", "sub/clean.py"]) == 0
    assert capsys.readouterr().out == "nothing found in 1 file\n"


def test_annotations_for_github(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "50%, or more.py").write_text(LEAK)
    assert main(["scan", "--format", "github", "50%, or more.py"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error file=50%25%2C or more.py,line=1,col=1,title=leaksafe LS001::")
    assert main(["scan", "--format", "github", "sub/clean.py"]) == 0
    assert capsys.readouterr().out == ""


def test_what_cannot_be_parsed_is_reported_and_the_rest_is_scanned(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "a.py").write_text("x = 1\ndef (:\n")
    (project / "b.py").write_bytes(b"x = '\xff'\n")
    (project / "c.py").write_bytes(b"x = \0\n")
    (project / "d.py").symlink_to("nowhere.py")
    (project / "e.py").write_text("-" * 100_000 + "1")
    status = main(["scan", "--exclude", "sub,tests"])
    out = capsys.readouterr().out
    assert status == 1
    assert "a.py:2:5: LS000 can't be parsed: " in out
    for name in ("b.py", "c.py", "e.py"):
        assert f"{name}:1:" in out
    assert "d.py:1:1: LS000 can't be read: No such file or directory" in out
    assert "app.py:1:1: LS001" in out


def test_no_code_is_run_and_its_warnings_are_not_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "loud.py").write_text("open('ran', 'w')\nx = '\\d' is 1\n")
    assert main(["scan", "loud.py"]) == 0
    assert capsys.readouterr().err == ""
    assert not (project / "ran").exists()


def test_the_command_without_arguments_says_what_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    for command in ("demo", "scan", "run", "census"):
        assert f"\n  {command} " in out


def test_help_of_scan_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scan", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for part in ("LS001", "LS008", "# noqa", "[tool.leaksafe.scan]", "exit status", "examples"):
        assert part in out


def test_help_of_the_demo_has_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    assert "usage: leaksafe demo" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scna"])
    assert ended.value.code == 2
    assert "'scan'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "leaksafe"],
        [str(Path(sysconfig.get_path("scripts")) / "leaksafe")],
    ],
    ids=["module", "script"],
)
def test_both_ways_to_start_it(project: Path, command: list[str]) -> None:
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("leaksafe ")
    scanned = subprocess.run([*command, "scan", "app.py"], capture_output=True, text=True)
    assert (scanned.returncode, scanned.stderr) == (1, "")
    assert "LS001" in scanned.stdout


def test_names_that_the_output_has_no_letters_for(project: Path) -> None:
    name = os.fsdecode(b"\xff\xc3\xbc.py")
    (project / name).write_text(LEAK)
    ended = subprocess.run(
        [sys.executable, "-m", "leaksafe", "scan", name],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "xfc.py:1:1: LS001" in ended.stdout


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "leaksafe", "scan"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (1, "")


def test_progress_is_shown_on_a_terminal_only(project: Path) -> None:
    # what is read from a pipe that nobody writes to takes longer than a second
    os.mkfifo(project / "slow.py")
    command = [sys.executable, "-m", "leaksafe", "scan", "slow.py", "app.py"]
    parent, child = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, text=True) as running:
        os.close(child)
        with (project / "slow.py").open("w") as slow:
            try:
                running.wait(2)
            except subprocess.TimeoutExpired:
                pass
            slow.write("x = 1\n")
        assert running.stdout
        assert "1 finding in 2 files" in running.stdout.read()
        shown = os.read(parent, 10_000).decode()
    os.close(parent)
    assert "scanned 2 files, now app.py" in shown
