"""The demo: its lines and its chart tell the truth, it ends cleanly, and takes further acts."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
import termios
import time
import xml.etree.ElementTree as ET
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from leaksafe.demo.act import Act, DemoError, Figure, Job, Options, Progress, Run, Sample
from leaksafe.demo.chart import Chart, Line, braille, short, ticks
from leaksafe.demo.measure import measuring, resident
from leaksafe.demo.page import Part, render
from leaksafe.demo.source import read_pages, read_pairs, write_identifiers

pytestmark = pytest.mark.thread_unsafe(reason="runs processes, and reads the one sys.stdout")

DEMO = [sys.executable, "-m", "leaksafe.demo"]
LOOKUPS, MAXSIZE = 20_000, 1_000
LIMIT = 120


def nothing(done: int, total: int) -> None:
    """Hear of progress."""


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def run_in_terminal(
    rows: int, columns: int, *arguments: str, **environment: str
) -> tuple[int, str]:
    """Run the demo on a terminal of that size; return its exit status and all that it wrote."""
    parent, child = pty.openpty()
    try:
        termios.tcsetwinsize(child, (rows, columns))
        own = {
            k: v for k, v in os.environ.items() if k not in {"CI", "NO_COLOR", "COLUMNS", "LINES"}
        }
        with subprocess.Popen(
            [*DEMO, *arguments],
            env={**own, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment},
            stdin=child,
            stdout=child,
            stderr=child,
        ) as process:
            os.close(child)
            child = -1
            written = b""
            while chunk := read_terminal(parent):
                written += chunk
            return process.wait(LIMIT), written.decode()
    finally:
        os.close(parent)
        if child >= 0:
            os.close(child)


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody has the other end any more
        return b""


def expected_of_the_calculator(scratch: Path) -> tuple[str, str]:
    """Count with a model what both sides must report as entries and hits."""
    target = scratch / "identifiers"
    write_identifiers(target, LOOKUPS, nothing)
    seen: set[tuple[str, str]] = set()
    recent: OrderedDict[tuple[str, str], None] = OrderedDict()
    hits = 0
    for pair in read_pairs(target):
        seen.add(pair)
        if pair in recent:
            hits += 1
        elif len(recent) == MAXSIZE:
            recent.popitem(last=False)
        recent[pair] = None
        recent.move_to_end(pair)
    return (
        f"{len(seen):,} entries, {1 - len(seen) / LOOKUPS:.1%} hits",
        f"{len(recent):,} entries, {hits / LOOKUPS:.1%} hits",
    )


def expected_of_the_pages(scratch: Path) -> tuple[str, str]:
    """Count with a model how many pages live and what is remembered of them: all, or nothing."""
    target = scratch / "identifiers"
    write_identifiers(target, LOOKUPS, nothing)
    pages = list(read_pages(target))
    entries = sum(len(set(page)) for page in pages)
    hits = f"{1 - entries / LOOKUPS:.1%} hits"
    return (
        rf"functools\.cache: +{len(pages)} alive, [0-9.]+ MiB, {entries:,} entries, {hits}",
        rf"leaksafe\.cache: +0 alive, [0-9.]+ MiB, 0 entries, {hits}",
    )


def expected_of_the_people(scratch: Path) -> tuple[str, str]:
    """Count with a model how many people and cars are left."""
    target = scratch / "identifiers"
    write_identifiers(target, LOOKUPS, nothing)
    left = sum(1 + len(page[::20]) for page in read_pages(target))
    return (
        rf"owner, an attribute: +{left:,} alive, [0-9.]+ MiB",
        r"owner = weakattr\(\): +0 alive, [0-9.]+ MiB",
    )


def test_on_a_pipe_it_prints_plain_lines_and_writes_the_page(tmp_path: Path) -> None:
    chart = tmp_path / "page.html"
    ended = run_demo(f"--lookups={LOOKUPS}", f"--maxsize={MAXSIZE}", f"--html={chart}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not re.search(r"[^\n -~]", ended.stdout), "more than plain lines"
    assert f"{LOOKUPS:,} pairs" in ended.stdout
    assert f"page: {chart}" in ended.stdout

    assert len(ended.stdout.split("leaks.check looks at")) == 7
    *_, findings = ended.stdout.partition("leaks.check looks at")
    for cure in (
        "LRUCache",
        "leaksafe.lru_cache",
        "TTLCache",
        "weakattr",
        "LazyObjects",
        "singleton",
    ):
        assert cure in findings
    page = chart.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|<link|src=|url\(", page)

    _, calculator, pages, logins, people, objects, settings, stampede = ended.stdout.split(
        "result:"
    )
    text = " ".join(ET.fromstring(page).itertext())
    for figures in expected_of_the_calculator(tmp_path):
        assert figures in calculator
        assert figures in text
    for pattern in expected_of_the_pages(tmp_path):
        assert re.search(pattern, pages)
        assert re.search(pattern, text)
    for path in ("Calculator.cache", "global CachedPage", "global SESSIONS", "global OBJECTS"):
        assert path in findings
        assert path in text
    assert re.search(r"dict with deadlines: +[0-9.]+ MiB, 400 sessions held", logins)
    assert re.search(r"TTLCache\(ttl=0.5\): +[0-9.]+ MiB, 0 sessions held", logins)
    for pattern in expected_of_the_people(tmp_path):
        assert re.search(pattern, people)
        assert re.search(pattern, text)
    for side, at_hand in (("a list", LOOKUPS), ("a generator", 0), ("LazyObjects", LOOKUPS)):
        assert re.search(rf"{side}: +[0-9.]+ MiB, {at_hand:,} objects at hand", objects)
    assert re.search("singleton: +240 built, 0 rounds with more than one", settings)
    assert re.search("cached: +30 computations", stampede)
    for label in (
        "dict, never emptied",
        f"LRUCache({MAXSIZE:_})",
        "look-ups",
        "resident memory, MiB",
        "live instances",
        "live objects",
        "instances built",
        "computations",
    ):
        assert label in text
    for tenth in range(10, 101, 10):
        lines = re.findall(rf"^ *{tenth}%  (.*?):", ended.stdout, re.MULTILINE)
        assert len(lines) == len(set(lines)) == 15


def test_the_page_shows_the_leak_of_each_act_beside_its_cure(tmp_path: Path) -> None:
    chart = tmp_path / "page.html"
    assert run_demo("--lookups=150_000", "--maxsize=100", f"--html={chart}").returncode == 0
    root = ET.fromstring(chart.read_text(encoding="utf-8"))
    heights: list[list[float]] = []
    for line in root.iter("polyline"):
        points = [point.split(",") for point in line.attrib["points"].split()]
        assert len(points) > 20
        across = [float(x) for x, _ in points]
        assert across == sorted(across)
        heights.append([-float(y) for _, y in points])
    *heights, once, often, alone, stampede = heights
    bounded, unbounded, dropped, kept, expired, lasting, freed, waiting, *objects = heights
    assert unbounded[-1] - unbounded[0] > 2 * (bounded[-1] - bounded[0])
    assert kept == sorted(kept)
    # From the axis it takes one step, for the page that is read, and goes back to the axis.
    zero, *rising, last = dropped
    assert zero == last == kept[0]
    assert len(set(rising)) == 1
    assert 0 < rising[0] - zero < (kept[-1] - kept[0]) / 100
    assert lasting[-1] - lasting[0] > 0.9 * (max(lasting) - lasting[0])
    # The allocator of a free-threaded build (mimalloc) gives memory back when it sees fit.
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert expired[-1] - expired[0] < 0.9 * (max(expired) - expired[0])
    assert waiting == sorted(waiting)
    assert freed[0] == freed[-1]
    assert 0 < max(freed) - freed[0] < (waiting[-1] - waiting[0]) / 100
    # The last side is drawn first.
    lazily, generated, listed = (line[-1] - line[0] for line in objects)
    assert listed > 2 * max(lazily, generated)
    assert often[-1] >= once[-1]
    assert stampede[-1] - stampede[0] > 10 * (alone[-1] - alone[0])


@pytest.mark.parametrize(("rows", "columns"), [(40, 120), (24, 80), (10, 40), (3, 12)])
def test_in_a_terminal_it_draws(rows: int, columns: int, tmp_path: Path) -> None:
    chart = tmp_path / "page.html"
    status, written = run_in_terminal(rows, columns, f"--lookups={LOOKUPS}", f"--html={chart}")
    assert status == 0
    assert "\x1b[38;5;" in written, "no colours"
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h"), "the cursor stays hidden"
    assert "━" in written
    if columns >= 40:
        assert re.search("[⠁-⣿]", written)
        assert "resident memory, MiB" in written
        assert "live instances" in written
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).splitlines()
    assert max(map(len, (line.rpartition("\r")[2] for line in drawn))) <= columns
    ET.fromstring(chart.read_text(encoding="utf-8"))


@pytest.mark.parametrize("reason", ["--plain", "CI", "dumb terminal", "without rich"])
def test_in_a_terminal_it_can_be_plain_too(reason: str, tmp_path: Path) -> None:
    arguments = [f"--lookups={LOOKUPS}", f"--html={tmp_path / 'page.html'}"]
    environment: dict[str, str] = {}
    match reason:
        case "--plain":
            arguments.append(reason)
        case "CI":
            environment["CI"] = "true"
        case "dumb terminal":
            environment["TERM"] = "dumb"
        case _:
            (tmp_path / "rich.py").write_text("raise ImportError", encoding="utf-8")
            environment["PYTHONPATH"] = os.pathsep.join(
                [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
            )
    status, written = run_in_terminal(40, 120, *arguments, **environment)
    assert status == 0
    assert "\x1b" not in written
    assert "result:" in written


def test_a_reader_that_leaves_early_ends_it_quietly(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--lookups=500_000", f"--html={tmp_path / 'page.html'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(LIMIT) == 1
    assert errors == ""
    assert_group_is_gone(process.pid)


@pytest.mark.parametrize("moment", ["reading", "10%"])
def test_an_interrupt_ends_all_its_processes(moment: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--lookups=500_000", f"--html={tmp_path / 'page.html'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout
        assert process.stderr
        assert any(moment in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
        errors = process.stderr.read()
        assert process.wait(LIMIT) == 130
    assert errors == "interrupted\n"
    assert list(tmp_path.iterdir()) == []
    assert_group_is_gone(process.pid)


def assert_group_is_gone(group: int) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("processes are left")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lookups=0"], "--lookups"),
        (["--lookups=many"], "--lookups"),
        (["--maxsize=-1"], "--maxsize"),
        ([f"--maxsize={sys.maxsize + 1}"], "--maxsize"),
        (["--html=/nowhere/page.html"], "--html"),
        (["--html=/"], "--html"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(arguments: list[str], message: str) -> None:
    ended = run_demo(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr.splitlines()[-1]


def test_a_cache_that_keeps_nothing_is_shown_as_it_is(tmp_path: Path) -> None:
    ended = run_demo(f"--lookups={LOOKUPS}", "--maxsize=0", f"--html={tmp_path / 'page.html'}")
    assert ended.returncode == 0
    assert "0 entries, 0.0% hits" in ended.stdout.split("result:")[1]


def test_source_gives_consecutive_identifiers_of_each_file(tmp_path: Path) -> None:
    library, target = tmp_path / "lib", tmp_path / "identifiers"
    (library / "site-packages").mkdir(parents=True)
    (library / "site-packages" / "other.py").write_text("not this\n", encoding="utf-8")
    code = 'def f_1(x2, naïve):  # a word\n    return x2 + 0x1F, "\\nline"\n'
    (library / "a.py").write_text(code, encoding="utf-8")
    (library / "b.py").write_bytes(b"# coding: latin-1\ncaf\xe9 = th\xe9\n")
    (library / "c.py").write_bytes(b"wrong = '\xff'\n")
    (library / "d.py").write_text("single\n", encoding="utf-8")
    names = [f"name{number}" for number in range(2500)]
    (library / "e.py").write_text("\n".join(names), encoding="utf-8")

    first = ["f_1", "x2", "naïve", "a", "word", "x2"]
    second = ["coding", "latin", "café", "thé"]
    pairs = [*pairwise(first), *pairwise(second), *pairwise(names)]
    source = write_identifiers(target, None, nothing, library)
    assert source == (3, len(pairs))
    assert list(read_pairs(target)) == pairs
    pages = [first[1:], second[1:], names[1:1001], names[1001:2001], names[2001:]]
    assert list(read_pages(target)) == pages
    for limit in (1, 5, 6, 8, 9, 1008, 1009, len(pairs) - 1, len(pairs), len(pairs) + 1):
        assert write_identifiers(target, limit, nothing, library).pairs == min(limit, len(pairs))
        assert list(read_pairs(target)) == pairs[:limit]


def test_no_source_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no Python source"):
        write_identifiers(tmp_path / "identifiers", None, nothing, tmp_path)


class ThreeSides(Act):
    """An act of another shape: three sides, one figure, no input; one side may fail."""

    title = "Held memory"
    unit = "steps"
    axis = "MiB"
    figures = (Figure("memory", "{:.0f} MiB"),)

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        return Job(options, scratch, ("none", "some", "more"), 2, "blocks of bytes")

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        yield Sample(0, (resident() / 2**20,))
        held = b"x" * (side * 32 * 2**20)
        yield Sample(1, (resident() / 2**20,))
        if side == job.options.maxsize:
            os._exit(3)
        del held
        yield Sample(2, (resident() / 2**20,))

    def meaning(self, run: Run) -> str:
        return "what is held shows"


def run_three(scratch: Path, fails: int) -> Run:
    act = ThreeSides()
    run = Run(act, act.prepare(Options(None, fails), scratch, nothing))
    with measuring(act, run.job) as reports:
        for side, sample in reports:
            run.samples[side].append(sample)
    return run


def test_each_side_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    run = run_three(tmp_path, fails=-1)
    for side, samples in enumerate(run.samples):
        assert [sample.done for sample in samples] == [0, 1, 2]
        before, held, after = (sample.values[0] for sample in samples)
        assert held - before == pytest.approx(side * 32, abs=4)
        # The allocator of a free-threaded build (mimalloc) gives memory back when it sees fit.
        kept = held - before if sysconfig.get_config_var("Py_GIL_DISABLED") else 0
        assert -4 <= after - before <= kept + 4
    assert "more" in render([Part(run.chart(), "")])


def test_a_side_that_dies_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"'some' ended with exit code 3"):
        run_three(tmp_path, fails=1)


def line_chart(*lines: tuple[str, tuple[tuple[float, float], ...]], x_top: float = 10) -> Chart:
    return Chart("Title", "Note", "x", "y", x_top, tuple(Line(label, "", p) for label, p in lines))


def drawn(chart: Chart, width: int, height: int) -> list[str]:
    return ["".join(piece.text for piece in row) for row in braille(chart, width, height)]


def test_a_drawing_has_its_size_its_axes_and_its_lines_in_place() -> None:
    chart = line_chart(("up", ((0, 0), (10, 100))), ("flat", ((0, 10), (10, 10))))
    rows = drawn(chart, 60, 10)
    assert len(rows) == 12
    assert {len(row) for row in rows} == {60}
    assert rows[0].startswith("100 ┤")
    assert rows[0].endswith(("⠁", "⠉", "⠊", "⡠", "⠔", "⠒", "⣀", "⠈"))
    assert rows[9].startswith("  0 ┤")
    assert any("flat" in row for row in rows)
    assert any("up" in row for row in rows)
    assert rows[-1].split() == ["0", "2", "4", "6", "8", "x"]
    owners = [
        {piece.line for piece in row if not piece.text.isspace()} for row in braille(chart, 60, 10)
    ]
    assert owners[0] == {None, 0}
    assert 1 in owners[8]


@pytest.mark.parametrize("lines", [(), (("none", ()),), (("one", ((0, 0),)),)])
def test_a_chart_of_next_to_nothing_can_be_drawn(
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...],
) -> None:
    chart = line_chart(*lines, x_top=1)
    assert len(drawn(chart, 40, 6)) == 8
    assert drawn(chart, 9, 6) == drawn(chart, 40, 1) == drawn(chart, 40, -3) == []
    ET.fromstring(render([Part(chart, "")]))


@pytest.mark.parametrize(
    ("top", "marks"),
    [
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (204, [0, 50, 100, 150, 200]),
        (2_659_802, [0, 500_000, 1_000_000, 1_500_000, 2_000_000, 2_500_000]),
    ],
)
def test_ticks_are_round(top: float, marks: list[float]) -> None:
    assert ticks(top) == pytest.approx(marks)


def test_ticks_are_written_short() -> None:
    assert [short(value) for value in (0, 0.5, 50, 1000, 500_000, 2_500_000)] == [
        *("0", "0.5", "50", "1k", "500k", "2.5M")
    ]


def test_several_charts_share_a_page_and_any_text_is_safe() -> None:
    label = """<&>"'"""
    root = ET.fromstring(
        render(
            [
                Part(line_chart((label, ((0, 1), (10, 2)))), label),
                Part(line_chart(("second", ())), ""),
            ]
        )
    )
    texts = list(root.itertext())
    assert any(label in text for text in texts)
    assert any("second" in text for text in texts)
    assert "prefers-color-scheme: dark" in "".join(texts)
