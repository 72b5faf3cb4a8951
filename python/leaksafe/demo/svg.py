"""Charts as SVG, one under the other, readable on light and on dark."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from leaksafe.demo.chart import Chart, short, ticks

_WIDTH, _HEIGHT = 860, 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 836, 158, 440

# The colours differ for the colour-blind too. What knows no media query shows the light ones.
_STYLE = """
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 20px; font-weight: 600 }
.note, .tick { font-size: 12px; fill: #57606a }
.paper { fill: #ffffff }
.grid { stroke: #d8dee4; stroke-width: 1 }
.axis { stroke: #57606a; stroke-width: 1 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.s0 { stroke: #c2410c } .s1 { stroke: #0369a1 } .s2 { stroke: #15803d }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .tick { fill: #9ba5b0 }
  .paper { fill: #0d1117 }
  .grid { stroke: #2b323b }
  .axis { stroke: #9ba5b0 }
  .s0 { stroke: #fb923c } .s1 { stroke: #38bdf8 } .s2 { stroke: #4ade80 }
}
"""


def render(charts: Sequence[Chart]) -> str:
    """Return a whole SVG document."""
    size = f'width="{_WIDTH}" height="{_HEIGHT * len(charts)}"'
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT * len(charts)}"'
    title = escape("; ".join(chart.title for chart in charts))
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} {size} role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" {size}/>',
    ]
    for number, chart in enumerate(charts):
        rows += [f'<g transform="translate(0 {_HEIGHT * number})">', *_chart(chart), "</g>"]
    return "\n".join([*rows, "</svg>", ""])


def _chart(chart: Chart) -> Iterator[str]:
    yield _text(24, 36, chart.title, "title")
    for number, row in enumerate(textwrap.wrap(chart.note, 120)[:2]):
        yield _text(24, 58 + 17 * number, row, "note")
    for number, line in enumerate(chart.lines):
        middle = 101 + 20 * number
        yield f'<path class="line s{number % 3}" d="M24 {middle} h26"/>'
        yield _text(58, middle + 5, f"{line.label}: {line.note}")
    yield _text(24, _TOP - 12, chart.y_label, "tick")
    for mark in ticks(chart.y_top):
        y = _y(chart, mark)
        yield f'<path class="{"grid" if mark else "axis"}" d="M{_LEFT} {y:.1f} H{_RIGHT}"/>'
        yield _text(_LEFT - 8, y + 4, short(mark), "tick", "end")
    for mark in ticks(chart.x_top):
        x = _x(chart, mark)
        yield f'<path class="axis" d="M{x:.1f} {_BOTTOM} v5"/>'
        yield _text(x, _BOTTOM + 20, short(mark), "tick", "middle")
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, chart.x_label, "tick", "middle")
    for number, line in reversed(list(enumerate(chart.lines))):
        points = " ".join(f"{_x(chart, x):.1f},{_y(chart, y):.1f}" for x, y in line.points)
        yield f'<polyline class="line s{number % 3}" points="{points}"/>'


def _x(chart: Chart, x: float) -> float:
    return _LEFT + x / chart.x_top * (_RIGHT - _LEFT)


def _y(chart: Chart, y: float) -> float:
    return _BOTTOM - y / chart.y_top * (_BOTTOM - _TOP)


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named} text-anchor="{anchor}">{escape(text)}</text>'
