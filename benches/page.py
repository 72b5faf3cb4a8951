"""What was measured, as a page and a chart: every target, met or missed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from benches.table import Row, Section, heads_and_cells, targets

HEAD = """\
# Benchmarks

Written by `make bench ARGS="--page docs/benchmarks.md"`: every figure of ours beside those of the
libraries it stands for. A figure is the median of ratios within one run, each of our loops timed in
turn with what it is compared with: 1.00 is as fast, or as heavy, as the thing named in the column
"1.00 is", less is better unless the target says at least (≥). Quartiles show how much runs differ.

"""

PALETTE = ("#888888", "#d55e00", "#cc79a7", "#56b4e9", "#e69f00", "#0072b2", "#999933", "#882255")
OURS = "#009e73"
ROW, LEFT, WIDTH, TOP = 18, 380, 520, 64
LOW, HIGH = 0.05, 20.0


def page(about: Mapping[str, str], sections: Sequence[Section], chart: str | None) -> str:
    """Return the page: the conditions, a line a target, then a table a section."""
    parts = [HEAD, *(f"- {key}: {value}\n" for key, value in about.items()), "\n## Targets\n\n"]
    if chart:
        parts.append(f"![Each target, ours and the peers]({chart})\n\n")
    parts.append(_table(targets(sections)))
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


def _aimed(sections: Sequence[Section]) -> Iterator[tuple[Section, Row]]:
    for section in sections:
        for row in section.rows:
            if row.target and row.ours:
                yield section, row


def _x(value: float) -> float:
    part = math.log(min(max(value, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + part * WIDTH


def chart(sections: Sequence[Section]) -> str:
    """Return an SVG with a line a target: what is aimed at, ours, and the peers, logarithmic."""
    rows = list(_aimed(sections))
    peers = list(dict.fromkeys(name for _, row in rows for name in row.peers))
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(peers)}
    height = TOP + ROW * len(rows) + 30
    width = LEFT + WIDTH + 30
    svg = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
            ' font-family="system-ui, sans-serif" font-size="11">'
        ),
        "<title>Each target: leaksafe and its peers</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    x = 12.0
    for name, colour in {"leaksafe": OURS, **colours, "target": "#000000"}.items():
        mark = (
            f'<path d="M{x + 4:.0f} 10v12" stroke="{colour}" stroke-width="2"/>'
            if name == "target"
            else f'<circle cx="{x + 4:.0f}" cy="16" r="4" fill="{colour}"/>'
        )
        svg.append(f'{mark}<text x="{x + 12:.0f}" y="20" fill="#333333">{escape(name)}</text>')
        x += 26 + 6.4 * len(name)
    for mark_at in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        line = f'<path d="M{_x(mark_at):.1f} {TOP - 8}V{height - 24}" stroke="#dddddd"/>'
        svg.append(
            line + f'<text x="{_x(mark_at):.1f}" y="{TOP - 14}" text-anchor="middle"'
            f' fill="#555555">{mark_at:g}</text>'
        )
    for number, (section, row) in enumerate(rows):
        y = TOP + ROW * number + 8
        label = f"{section.name}: {row.workload}" + (f" / {row.against}" if row.against else "")
        svg.append(
            f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end" fill="#333333">'
            f"{escape(label[:62])}</text>"
        )
        for name, spread in row.peers.items():
            svg.append(
                f'<circle cx="{_x(spread.mid):.1f}" cy="{y}" r="3" fill="{colours[name]}">'
                f"<title>{escape(name)} {spread.mid:.2f}</title></circle>"
            )
        if row.target and row.ours:
            aim = _x(row.target.limit)
            svg.append(f'<path d="M{aim:.1f} {y - 7}v14" stroke="#000000" stroke-width="2"/>')
            ring = "" if row.verdict == "met" else ' stroke="#cc0000" stroke-width="2"'
            svg.append(
                f'<circle cx="{_x(row.ours.mid):.1f}" cy="{y}" r="4.5" fill="{OURS}"{ring}>'
                f"<title>leaksafe {row.ours.mid:.2f}, {row.verdict}</title></circle>"
            )
    svg.append("</svg>\n")
    return "\n".join(svg)
