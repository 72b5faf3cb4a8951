"""What was measured, as a page and a chart: every target, met or missed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from benches.table import Row, Section, Target, heads_and_cells, losses, targets

HEAD = """\
# Benchmarks

Written by `make bench ARGS="--page docs/benchmarks.md"`: every figure of ours beside those of the
libraries it stands for. A figure is the median of ratios within one run, each of our loops timed in
turn with what it is compared with: 1.00 is as fast, or as heavy, as the thing named in the column
"1.00 is", less is better unless the target says at least (≥). Quartiles show how much runs differ.

"""

PALETTE = (
    *("#888888", "#e69f00", "#cc79a7", "#56b4e9", "#a6761d", "#0072b2", "#999933", "#882255"),
    *("#bbbbbb", "#6a3d9a", "#b2df8a", "#1b9e9e", "#444444"),
)
OURS = "#009e73"
MISSED = "#d00000"
ROW, LEFT, WIDTH = 18, 380, 520
LOW, HIGH = 0.05, 20.0


def page(about: Mapping[str, str], sections: Sequence[Section], chart: str | None) -> str:
    """Return the page: the conditions, a line a target, then a table a section."""
    parts = [HEAD, *(f"- {key}: {value}\n" for key, value in about.items()), "\n## Targets\n\n"]
    if chart:
        parts.append(
            "In the chart, a figure is a multiple of its target:"
            " what is left of the line meets it.\n\n"
        )
        parts.append(f"![Each target, ours and the peers]({chart})\n\n")
    parts.append(_table(targets(sections)))
    parts.append(
        "\n## Losses\n\nEvery row whose target is missed, or in which a peer is better.\n\n"
    )
    parts.append(_table(losses(sections)))
    for section in sections:
        parts.append(f"\n## {section.name}: {section.title}\n\n{section.how}\n\n")
        parts.append(_table(heads_and_cells(section)))
        parts.extend(f"\n{note}\n" for note in section.notes)
    return "".join(parts)


def _table(lines: Sequence[Sequence[str]]) -> str:
    heads, *rows = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    marked = [["**missed**" if cell == "missed" else cell for cell in row] for row in rows]
    head = f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in marked)


def _aimed(sections: Sequence[Section]) -> Iterator[tuple[Section, Row, Target]]:
    for section in sections:
        for row in section.rows:
            if row.target and row.ours:
                yield section, row, row.target


def _x(value: float, target: Target) -> float:
    """Where a figure stands: how many times the target it is, better to the left, logarithmic."""
    times = target.limit / max(value, 1e-9) if target.at_least else value / target.limit
    part = math.log(min(max(times, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + part * WIDTH


def _legend(colours: Mapping[str, str], width: int) -> tuple[list[str], float]:
    """Return what each colour means, in lines, and where these end."""
    svg: list[str] = []
    x, y = 12.0, 16.0
    for name, colour in colours.items():
        wide = 26 + 6.4 * len(name)
        if x + wide > width:
            x, y = 12.0, y + ROW
        svg.append(
            f'<circle cx="{x + 4:.0f}" cy="{y:.0f}" r="4" fill="{colour}"/>'
            f'<text x="{x + 12:.0f}" y="{y + 4:.0f}" fill="#333333">{escape(name)}</text>'
        )
        x += wide
    return svg, y


def chart(sections: Sequence[Section]) -> str:
    """Return an SVG with a line a target: ours and the peers, as multiples of the target."""
    rows = list(_aimed(sections))
    peers = list(dict.fromkeys(name for _, row, _ in rows for name in row.peers))
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(peers)}
    width = LEFT + WIDTH + 30
    legend, top = _legend({"leaksafe": OURS, "leaksafe, missed": MISSED, **colours}, width)
    top += 48
    height = top + ROW * len(rows) + 10
    svg = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img"'
            ' font-family="system-ui, sans-serif" font-size="11">'
        ),
        "<title>Each target: leaksafe and its peers, as multiples of what is aimed at</title>",
        f'<rect width="{width}" height="{height:.0f}" fill="#ffffff"/>',
        *legend,
    ]
    for mark in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        x = _x(mark, Target(1))
        stroke = 'stroke="#000000"' if mark == 1 else 'stroke="#dddddd"'
        label = "target" if mark == 1 else f"{mark:g}×"
        svg.append(
            f'<path d="M{x:.1f} {top - 8:.0f}V{height - 8:.0f}" {stroke}/>'
            f'<text x="{x:.1f}" y="{top - 14:.0f}" text-anchor="middle" fill="#555555">'
            f"{label}</text>"
        )
    for number, (section, row, target) in enumerate(rows):
        y = top + ROW * number + 8
        label = f"{section.name}: {row.workload}" + (f" / {row.against}" if row.against else "")
        svg.append(
            f'<text x="{LEFT - 10}" y="{y + 4:.0f}" text-anchor="end" fill="#333333">'
            f"{escape(label[:62])}</text>"
        )
        dots = [(name, colours[name], 3.0, peer) for name, peer in row.peers.items()]
        if row.ours:
            ours = OURS if row.verdict == "met" else MISSED
            dots.append((f"leaksafe, {row.verdict},", ours, 4.5, row.ours))
        svg += [
            f'<circle cx="{_x(spread.mid, target):.1f}" cy="{y:.0f}" r="{radius}" fill="{colour}">'
            f"<title>{escape(name)} {spread.mid:.2f}, target {target}</title></circle>"
            for name, colour, radius, spread in dots
        ]
    svg.append("</svg>\n")
    return "\n".join(svg)
