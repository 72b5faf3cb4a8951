"""Everything as one HTML page: each act with its curves, and what `leaks.check` found in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leaksafe.demo.chart import Chart, short, ticks
from leaksafe.leaks import Report
from leaksafe.leaks._page import document, escape, report

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 606, 14, 246

# What is in an SVG shrinks with it: its text is larger where the window is narrow.
_STYLE = """
.plot { width: 100%; max-width: 44rem; height: auto; display: block; margin-top: .6rem }
.plot text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: var(--dim) }
@media (max-width: 40rem) { .plot text { font-size: 20px } .plot .line { stroke-width: 4 } }
.legend svg { width: 1.6rem; height: .6rem; margin-right: .5rem; vertical-align: middle }
section h3 { margin: 1rem 0 .5rem } section .card h3 { margin: 0 }
section { border-top: 1px solid var(--rule); margin-top: 2rem }
"""


@dataclass(frozen=True)
class Part:
    """An act on the page; `found` is None where nothing was looked for."""

    chart: Chart
    meaning: str
    found: Report | None = None


def render(parts: Sequence[Part]) -> str:
    """Return a whole page: no script, no font, nothing from elsewhere."""
    return document(
        "Leaks and their cures, measured", [row for part in parts for row in _part(part)], _STYLE
    )


def _part(part: Part) -> Iterator[str]:
    chart = part.chart
    yield f"<section><h2>{escape(chart.title)}</h2>"
    yield f'<p class="dim">{escape(chart.note)}</p>'
    for number, line in enumerate(chart.lines):
        yield (
            f'<p class="legend"><svg viewBox="0 0 26 8" aria-hidden="true">'
            f'<path class="line s{number % 3}" d="M0 4 h26"/></svg>'
            f"<b>{escape(line.label)}:</b> {escape(line.note)}</p>"
        )
    yield f'<p class="dim">{escape(chart.y_label)}</p>'
    yield f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    yield f' aria-label="{escape(f"{chart.y_label} over {chart.x_label}")}">'
    yield from _plot(chart)
    yield "</svg>"
    yield f"<p>{escape(part.meaning)}</p>"
    if part.found is not None:
        yield "<h3>What leaks.check finds in the leaky version</h3>"
        yield from report(part.found)
    yield "</section>"


def _plot(chart: Chart) -> Iterator[str]:
    for mark in ticks(chart.y_top):
        y = _y(chart, mark)
        yield f'<path class="{"grid" if mark else "axis"}" d="M{_LEFT} {y:.1f} H{_RIGHT}"/>'
        yield _text(_LEFT - 8, y + 5, short(mark), "end")
    for mark in ticks(chart.x_top):
        x = _x(chart, mark)
        yield f'<path class="axis" d="M{x:.1f} {_BOTTOM} v5"/>'
        yield _text(x, _BOTTOM + 24, short(mark), "middle")
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 48, chart.x_label, "middle")
    for number, line in reversed(list(enumerate(chart.lines))):
        points = " ".join(f"{_x(chart, x):.1f},{_y(chart, y):.1f}" for x, y in line.points)
        yield f'<polyline class="line s{number % 3}" points="{points}"/>'


def _x(chart: Chart, x: float) -> float:
    return _LEFT + x / chart.x_top * (_RIGHT - _LEFT)


def _y(chart: Chart, y: float) -> float:
    return _BOTTOM - y / chart.y_top * (_BOTTOM - _TOP)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
