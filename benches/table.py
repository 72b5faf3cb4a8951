"""What was measured, as text: aligned columns, one verdict a row."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benches.measure import Spread


@dataclass(frozen=True, slots=True)
class Target:
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:.2f}"

    def slack(self, value: float) -> float:
        """How far inside a value is; below zero, how far outside."""
        return value - self.limit if self.at_least else self.limit - value


@dataclass(frozen=True, slots=True)
class Row:
    workload: str
    against: str
    unit: str
    ours: Spread | None
    peers: dict[str, Spread]
    target: Target | None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        if self.ours is None:
            return "-"
        return "met" if self.target.met(self.ours.mid) else "missed"


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    title: str
    how: str
    rows: list[Row]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        return {**asdict(self), "rows": rows}


STANDARD = ("dict", "functools", "weakref", "property", "LRU")
FOR_COROUTINES = ("no cache", "async-lru")
INSTALLED = ("cachebox", "lru-dict", "cachetools", "moka-py", "theine")


def heads_and_cells(section: Section) -> list[list[str]]:
    """The rows of a section, cell by cell, under their heads."""
    some = [*STANDARD, *FOR_COROUTINES]
    some = [peer for peer in some if any(peer in row.peers for row in section.rows)]
    columns = [*some, *INSTALLED]  # a column of gaps shows an installable peer that is missing
    heads = ["workload", "1.00 is", "leaksafe", "quartiles", "target", "verdict", *columns]
    lines = [heads]
    for row in section.rows:
        ours = row.ours
        lines.append(
            [
                row.workload,
                row.unit or "-",
                f"{ours.mid:.2f}" if ours else "-",
                f"{ours.low:.2f} to {ours.high:.2f}" if ours else "-",
                str(row.target or ""),
                row.verdict,
                *(f"{row.peers[peer].mid:.2f}" if peer in row.peers else "-" for peer in columns),
            ]
        )
    return lines


def render(section: Section) -> str:
    return "\n".join(
        [
            f"{section.name}: {section.title}",
            f"  {section.how}",
            *("  " + line for line in _aligned(heads_and_cells(section))),
            *(f"  note: {note}" for note in section.notes),
        ]
    )


def targets(sections: Sequence[Section]) -> list[list[str]]:
    """For each target, in how many of its rows it is met, and the worst of them; heads first."""
    lines = [["target", "", "met in", "worst", "where"]]
    for section in sections:
        for against in dict.fromkeys(row.against for row in section.rows if row.target):
            rows = [row for row in section.rows if row.against == against and row.target]
            measured = sorted(
                ((row.ours.mid, row) for row in rows if row.ours and row.target),
                key=lambda pair: -pair[1].target.slack(pair[0]) if pair[1].target else 0,
            )
            met = sum(row.verdict == "met" for row in rows)
            lines.append(
                [
                    f"{section.title} / {against}" if against else section.title,
                    " ".join(dict.fromkeys(str(row.target) for row in rows)),
                    f"{met} of {len(rows)}",
                    f"{measured[-1][0]:.2f}" if measured else "-",
                    measured[-1][1].workload if measured else "-",
                ]
            )
    return lines


def losses(sections: Sequence[Section]) -> list[list[str]]:
    """Each row whose target is missed, or in which an installable peer is better; heads first."""
    lines = [["what", "with", "1.00 is", "leaksafe", "target", "better"]]
    for section in sections:
        for row in section.rows:
            if row.ours is None:
                continue
            mid = row.ours.mid
            more = row.target is not None and row.target.at_least
            better = [
                f"{name} {peer.mid:.2f}"
                for name, peer in row.peers.items()
                if name in INSTALLED and (peer.mid > mid if more else peer.mid < mid)
            ]
            if better or row.verdict == "missed":
                target = f"{row.target}, {row.verdict}" if row.target else ""
                lines.append(
                    [section.title, row.workload, row.unit, f"{mid:.2f}", target, ", ".join(better)]
                )
    return lines


def summary(sections: Sequence[Section]) -> str:
    lines = targets(sections)
    return "\n".join(_aligned(lines)) if len(lines) > 1 else "no targets in what was measured"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
