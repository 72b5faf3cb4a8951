"""Reports as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leaksafe.leaks._sizes import show_bytes, show_count

if TYPE_CHECKING:
    from leaksafe.leaks._repeat import Verdict
    from leaksafe.leaks._report import Group, Report
    from leaksafe.leaks._watch import GrowthReport

# The colours differ for the colour-blind too.
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f8fa; --ink: #24292f; --dim: #57606a;
  --rule: #d0d7de; --s0: #c2410c; --s1: #0369a1; --s2: #15803d }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --card: #161b22; --ink: #e6edf3;
  --dim: #9ba5b0; --rule: #30363d; --s0: #fb923c; --s1: #38bdf8; --s2: #4ade80 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.25rem; margin-top: 2.2rem }
h3 { font-size: 1rem; margin: 0 }
p { margin: .4rem 0 } .dim { color: var(--dim); font-size: .875rem }
code, .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875rem }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: .8rem 1rem; margin: .8rem 0 }
.advice { border-left: 4px solid var(--s2); padding-left: .7rem }
.scroll { overflow-x: auto } .scroll svg { display: block }
.holders text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: var(--ink) }
.holders rect { fill: var(--card); stroke: var(--rule) }
.holders .root rect { stroke: var(--s1); stroke-width: 2 }
.holders .kept rect { stroke: var(--s0); stroke-width: 2 } .holders .kept text { fill: var(--s0) }
.holders path { fill: none; stroke: var(--dim) }
.curve { width: 100%; max-width: 26rem; height: auto }
.curve text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--dim) }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.s0 { stroke: var(--s0) } .s1 { stroke: var(--s1) } .s2 { stroke: var(--s2) }
.axis { stroke: var(--dim) } .grid { stroke: var(--rule) }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CHARACTER, _ROW, _BOX, _INDENT = 7.3, 36, 26, 20


def escape(text: str) -> str:
    """Any text as HTML; what isn't printable is shown as Python would write it."""
    return html.escape(
        "".join(one if one.isprintable() else repr(one)[1:-1] for one in text), quote=True
    )


def document(title: str, parts: Sequence[str], style: str = "") -> str:
    """Return a page, which is well-formed XML too."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            # Nothing is loaded, even if some text came through as more than text.
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}"/>',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}{style}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            "</body>",
            "</html>",
            "",
        ]
    )


def report(found: Report) -> Iterator[str]:
    """Yield the graph of holders, and a card for each finding."""
    if not found.groups:
        yield "<p>Nothing outlives the block.</p>"
    else:
        yield f'<div class="scroll">{_holders(found.groups)}</div>'
    for group in found.groups:
        yield from _card(group)
    for late in found.late:
        yield (
            f'<div class="card"><h3>late: {late.count:,} <code>{escape(late.type)}</code></h3>'
            f'<p class="advice">{escape(late.advice)}</p></div>'
        )
    if found.imported:
        yield f'<p class="dim">imported: {escape(", ".join(found.imported))}</p>'


def verdict(given: Verdict) -> Iterator[str]:
    """Yield what grows, with its curve, and the report."""
    yield f"<p>{escape(str(given).splitlines()[0].rstrip(':'))}</p>"
    for growth in given.growth:
        yield f'<div class="card"><h3>{escape(str(growth))}</h3>'
        if len(growth.rounds) > 1:
            yield _curve(growth.rounds, growth.what)
        yield "</div>"
    if given.report.groups:
        yield "<h2>Who holds it</h2>"
        yield from report(given.report)


def growth(seen: GrowthReport) -> Iterator[str]:
    """Yield a card for each container, then how many more there are of each class."""
    if not seen.containers and not seen.types:
        yield "<p>Nothing grows.</p>"
    for one in seen.containers:
        yield f'<div class="card"><h3 class="mono">{escape(one.path)}</h3>'
        yield f"<p>a {escape(one.type)}: held {one.before:,}, holds {one.now:,}</p>"
        if one.advice:
            yield f'<p class="advice">{escape(one.advice)}</p>'
        yield "</div>"
    if seen.types:
        yield "<h2>More of each class</h2><ul>"
        for name, count in seen.types.items():
            yield f"<li>{count:,} <code>{escape(name)}</code></li>"
        yield "</ul>"


def _card(group: Group) -> Iterator[str]:
    kinds = ", ".join(f"{count:,} {name}" for name, count in list(group.types.items())[:3])
    rate = "" if group.growth is None else f", {group.growth:g} a call"
    yield f'<div class="card"><h3 class="mono">{escape(group.path)}</h3>'
    size = f"{show_count(group.count)}, {show_bytes(group.bytes)}"
    yield f"<p>{escape(kinds)}: {size}{escape(rate)}</p>"
    yield f'<p class="dim">one of them: <code>{escape(group.example)}</code></p>'
    if group.line:
        yield f'<p class="dim">made at <code>{escape(group.line)}</code></p>'
    yield f'<p class="advice">{escape(group.advice)}</p></div>'


@dataclass
class _Holder:
    """A holder, what it holds, and the findings that are held by it directly."""

    holds: dict[str, _Holder] = field(default_factory=dict["str", "_Holder"])
    kept: list[Group] = field(default_factory=list["Group"])


def _holders(groups: Sequence[Group]) -> str:
    """All paths as one tree, from the roots down: what two paths share is drawn once."""
    top = _Holder()
    for group in groups:
        holder = top
        for name in reversed(group.path.split(" ← ")):
            holder = holder.holds.setdefault(name, _Holder())
        holder.kept.append(group)
    shapes: list[str] = []
    size = [0.0, 0]  # how wide and how many rows
    # A stack, since a chain may be longer than Python's calls go deep.
    waiting: list[tuple[str, str, int, float, _Holder]] = _branches(top, 0, 0)
    while waiting:
        label, style, depth, above, holder = waiting.pop()
        left = 2.0 + depth * _INDENT
        middle = size[1] * _ROW + _ROW / 2
        wide = _width(label) * _CHARACTER + 16
        if depth:
            elbow = left - _INDENT / 2
            shapes.append(f'<path d="M{elbow:g} {above:g} V{middle:g} H{left:g}"/>')
        shapes.append(
            f'<g class="{style}"><rect x="{left:g}" y="{middle - _BOX / 2:g}" rx="5"'
            f' width="{wide:.0f}" height="{_BOX}"/>'
            f'<text x="{left + 8:g}" y="{middle + 4:g}">{escape(label)}</text></g>'
        )
        size[0] = max(size[0], left + wide + 2)
        size[1] += 1
        waiting += _branches(holder, depth + 1, middle + _BOX / 2)
    box = f'width="{size[0]:.0f}" height="{size[1] * _ROW}"'
    told = 'role="img" aria-label="who holds what"'
    return f'<svg class="holders" {told} {box}>{"".join(shapes)}</svg>'


def _branches(
    holder: _Holder, depth: int, above: float
) -> list[tuple[str, str, int, float, _Holder]]:
    """What is drawn below a holder, the last first."""
    style = "holder" if depth else "root"
    below = [(name, style, depth, above, one) for name, one in holder.holds.items()]
    for group in holder.kept:
        kind = next(iter(group.types), "objects")
        more = ", …" if len(group.types) > 1 else ""
        label = f"{kind}{more}: {show_count(group.count)}, {show_bytes(group.bytes)}"
        below.insert(0, (label, "kept", depth, above, _Holder()))
    return below[::-1]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _curve(values: Sequence[float], what: str) -> str:
    low, high = min(values), max(values)
    across = 396 / (len(values) - 1)
    up = 84 / ((high - low) or 1)
    points = " ".join(
        f"{2 + number * across:.1f},{90 - (value - low) * up:.1f}"
        for number, value in enumerate(values)
    )
    return (
        f'<svg class="curve" viewBox="0 0 400 116" role="img"'
        f' aria-label="{escape(what)} after each round">'
        '<path class="grid" d="M2 90 H398"/>'
        f'<polyline class="line s0" points="{points}"/>'
        f'<text x="2" y="110">round 1: {values[0]:,}</text>'
        f'<text x="398" y="110" text-anchor="end">round {len(values)}: {values[-1]:,}</text></svg>'
    )
