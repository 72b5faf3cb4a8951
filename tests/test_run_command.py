"""The commands `leaksafe run` and `leaksafe census`, as a shell sees them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from leaksafe.__main__ import main

pytestmark = pytest.mark.thread_unsafe(reason="the one sys.stdout, and processes")

SERVICE = '''\
"""A service that keeps what it need not."""
from __future__ import annotations

import sys

from leaksafe import LRUCache, lru_cache
from helpers import log


class Service:
    _results = {}


class Job:
    pass


@lru_cache(maxsize=10)
def double(number: int) -> int:
    return 2 * number


def main() -> int:
    done = [Job() for _ in range(7)]
    for number in range(100):
        Service._results[f"add_{number}"] = number
        log.append(Job())
    double(1), double(1), double(2)
    print(sys.argv[1:], __name__, Job.__module__)
    return len(done)


recent: LRUCache[int, int] = LRUCache(5)
for number in range(8):
    recent[number] = number
if __name__ == "__main__":
    sys.exit(main())
'''
HELPERS = "table = {number: [number] for number in range(50)}\nlog = []\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a script, what that imports, and the same as a package and an archive."""
    (tmp_path / "work").mkdir()
    for name, source in {
        "app/service.py": SERVICE,
        "app/helpers.py": HELPERS,
        "tool/__main__.py": SERVICE,
        "tool/__init__.py": "",
        "helpers.py": HELPERS,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source, encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "tool.pyz", "w") as archive:
        archive.writestr("__main__.py", SERVICE)
        archive.writestr("helpers.py", HELPERS)
    return tmp_path


def shell(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leaksafe", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def script(place: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (place / "script.py").write_text(source, encoding="utf-8")
    return shell(place, "run", *options, "script.py")


@pytest.mark.parametrize(
    ("program", "file"),
    [
        (["app/service.py"], "service.py"),
        (["tool.pyz"], "__main__.py"),
        (["-m", "tool"], "__main__.py"),
        (["-m", "app.service"], "service.py"),
    ],
    ids=["script", "archive", "package", "module"],
)
def test_what_outlives_a_program_is_reported_and_its_exit_status_kept(
    place: Path, program: list[str], file: str
) -> None:
    ended = shell(place, "run", "--json", "--report", "found.json", *program, "--json", "-m", "x")
    assert (ended.returncode, ended.stderr) == (7, "")
    assert ended.stdout == "['--json', '-m', 'x'] __main__ __main__\n"
    groups = json.loads((place / "found.json").read_text())["groups"]
    found = {group["path"]: group["count"] for group in groups}
    assert found.pop(f"class attribute Service._results ← {file} global Service") == 100
    assert found.pop(f"{file} global log[…]") == 100
    # Neither definitions nor imports nor variables of functions; but all that a global holds.
    assert found == {f"{file} global recent": 1}


def test_the_report_as_a_page(place: Path) -> None:
    ended = shell(place, "run", "--html", "--report", "found.html", "app/service.py")
    assert (ended.returncode, ended.stderr) == (7, "")
    page = (place / "found.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "Service._results" in page
    ended = shell(place, "run", "--html", "--json", "app/service.py")
    assert ended.returncode == 2 and "not allowed with argument --json" in ended.stderr


def test_the_report_goes_to_stderr_and_says_what_to_do(place: Path) -> None:
    ended = shell(place, "run", "app/service.py")
    assert "class attribute Service._results ← service.py global Service" in ended.stderr
    assert "LRUCache(maxsize)" in ended.stderr
    assert "made at" not in ended.stderr
    traced = shell(place, "run", "--lines", "app/service.py")
    assert "made at app/service.py:33" in traced.stderr


@pytest.mark.parametrize(
    "source",
    [
        "def main():\n    kept = [{} for _ in range(100)]\nmain()\n",
        "class A:\n    cache = {1: [2]}\ntable = [A]\n",
        '"""Only a docstring."""\n',
        "from __future__ import annotations\n",
        "import json\nprint(json.dumps([1]), [[]])\n",
        "",
    ],
)
def test_a_program_that_keeps_nothing(place: Path, source: str) -> None:
    ended = script(place, source)
    if "table" in source:
        assert "script.py global table" in ended.stderr
    else:
        assert (ended.returncode, ended.stderr) == (0, "nothing outlives the block\n")


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("import sys\nsys.exit()", 0, ""),
        ("import sys\nsys.exit('no luck')", 1, "no luck\n"),
        ("def f():\n    big = [{}]\n    1 / 0\nf()\n", 1, "ZeroDivisionError"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
def test_how_a_program_ends(place: Path, source: str, status: int, said: str) -> None:
    ended = script(place, source)
    assert ended.returncode == status
    assert said in ended.stderr
    # What Python imports for the traceback is named after that.
    assert "nothing outlives the block" in ended.stderr.splitlines()
    # A traceback shows the program alone, as python's does.
    assert "leaksafe" not in ended.stderr


def test_a_program_that_ends_before_its_main_part(place: Path) -> None:
    ended = script(place, "import sys\nsys.exit(4)\ndef f(): ...\nf()\n")
    assert ended.returncode == 4
    assert "before its main part" in ended.stderr


def test_threads_are_waited_for_and_daemons_are_told(place: Path) -> None:
    ended = script(
        place,
        "import threading, time\n"
        "kept = []\n"
        "class Item: pass\n"
        "def late():\n    time.sleep(0.2)\n    kept.append(Item())\n"
        "threading.Thread(target=late).start()\n",
    )
    assert "kept" in ended.stderr
    assert "__main__.Item" in ended.stderr


def test_a_program_can_pickle_and_import_its_own_classes(place: Path) -> None:
    ended = script(
        place,
        "import pickle, __main__\n"
        "class Item: pass\n"
        "assert __main__.Item is Item\n"
        "assert type(pickle.loads(pickle.dumps(Item()))) is Item\n"
        "print(__file__, __spec__, __package__)\n",
    )
    assert (ended.returncode, ended.stdout) == (0, "script.py None None\n")


def test_wrong_arguments(place: Path) -> None:
    (place / "bad.py").write_text("def (:\n")
    (place / "empty").mkdir()
    for arguments, said in [
        (["nowhere.py"], "can't read nowhere.py: No such file or directory"),
        ([], "a script is missing"),
        (["-m"], "a script is missing"),
        (["-m", "nowhere"], "there is no module nowhere"),
        (["-m", "nowhere.below"], "can't find the module nowhere.below"),
        (["-m", "array"], "has no source"),
        (["bad.py"], "can't be compiled"),
        (["empty"], "has no __main__.py"),
        (["--report", "no/where", "app/service.py"], "can't write a file at no/where"),
    ]:
        ended = shell(place, "run", *arguments)
        assert (ended.returncode, ended.stdout) == (2, ""), arguments
        if arguments == ["-m", "array"]:
            continue  # built in, or an extension, as the interpreter was made
        assert said in ended.stderr


def test_census_shows_the_caches_that_a_program_ends_with(place: Path) -> None:
    ended = shell(place, "census", "app/service.py")
    assert ended.returncode == 7
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("double: 2 entries, bound 10, 33% hits (")
    assert lines[1].startswith("LRUCache: 5 entries, bound 5, 3 removed (")
    assert lines[1].endswith("service.py:33)")
    assert len(lines) == 12
    ended = shell(place, "census", "--json", "--classes", "100000", "app/service.py")
    seen = json.loads(ended.stderr)
    assert [one["entries"] for one in seen["caches"]] == [2, 5]
    assert seen["classes"]["__main__.Job"] == 100
    assert shell(place, "census", "--classes", "0", "helpers.py").stderr == "no caches\n"


def test_progress_is_shown_on_a_terminal(place: Path) -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "leaksafe", "run", "helpers.py"]
    subprocess.run(command, cwd=place, stderr=child, check=True, timeout=60)
    os.close(child)
    shown = os.read(parent, 10_000).decode()
    os.close(parent)
    assert "looking for what outlives" in shown


@pytest.mark.parametrize("command", ["run", "census"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for part in (f"usage: leaksafe {command}", "exit status", "examples", "-m MODULE", "--json"):
        assert part in out
