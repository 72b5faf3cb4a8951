"""Line charts: their data, their scales, and how they look in dots of braille."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple


@dataclass(frozen=True)
class Line:
    """One line, with the final figures that belong to it."""

    label: str
    note: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis, both axes from zero."""

    title: str
    note: str
    x_label: str
    y_label: str
    x_top: float
    lines: tuple[Line, ...]

    @property
    def y_top(self) -> float:
        """The height of the chart: the first tick above all points."""
        highest = max((y for line in self.lines for _, y in line.points), default=0.0)
        step = _step(highest or 1.0)
        return step * max(1, math.ceil(highest / step))


def ticks(top: float) -> list[float]:
    """Return round numbers from zero to `top`, about five."""
    step = _step(top)
    return [step * number for number in range(math.floor(top / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Write a tick: 2.5M, 500k, 40."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _step(top: float) -> float:
    rough = top / 6
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)


class Piece(NamedTuple):
    """Text of one colour: of the line with that number, or of the axes."""

    text: str
    line: int | None


# Bits of a braille sign's dots, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def braille(chart: Chart, width: int, height: int) -> Iterator[list[Piece]]:
    """Yield the rows of a chart that is `width` signs wide and, without the axis, `height` high."""
    marks = ticks(chart.y_top)
    margin = max(len(short(mark)) for mark in marks)
    columns = width - margin - 2
    if columns < 10 or height < 2:
        return
    labels = {_row(mark, chart.y_top, height * 4) // 4: short(mark) for mark in reversed(marks)}
    for row, cells in enumerate(_plot(chart, columns, height)):
        yield [
            Piece(f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}", None),
            *(
                Piece("".join(cell.text for cell in group), line)
                for line, group in groupby(cells, key=lambda cell: cell.line)
            ),
        ]
    yield [Piece(" " * margin + " └" + "─" * columns, None)]
    yield [Piece(" " * (margin + 2) + _x_axis(chart, columns), None)]


def _row(y: float, top: float, rows: int) -> int:
    return min(rows - 1, max(0, round((1 - y / top) * (rows - 1))))


def _plot(chart: Chart, columns: int, height: int) -> list[list[Piece]]:
    dots = [[0] * columns for _ in range(height)]
    owners: list[list[int | None]] = [[None] * columns for _ in range(height)]
    ends: list[tuple[int, int]] = []
    for number, line in enumerate(chart.lines):
        path = [
            (
                min(columns * 2 - 1, round(x / chart.x_top * (columns * 2 - 1))),
                _row(y, chart.y_top, height * 4),
            )
            for x, y in line.points
        ]
        for here, there in pairwise(path):
            for x, y in _between(here, there):
                dots[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
                owners[y // 4][x // 2] = number
        ends += [(x // 2, y // 4) for x, y in path[-1:]]
    plot = [
        [
            Piece(chr(0x2800 + bits) if bits else " ", owner)
            for bits, owner in zip(*row, strict=True)
        ]
        for row in zip(dots, owners, strict=True)
    ]
    for number, (column, row) in enumerate(ends):
        _name(plot, column, row, Piece(chart.lines[number].label, number))
    return plot


def _name(plot: list[list[Piece]], column: int, row: int, label: Piece) -> None:
    """Write a line's label above or below its end, wherever nothing is in the way."""
    start = max(0, column + 1 - len(label.text))
    room = slice(start, start + len(label.text))
    for near in (row - 1, row - 2, row + 1, row + 2):
        if 0 <= near < len(plot):
            taken = "".join(cell.text for cell in plot[near][room])
            if len(taken) == len(label.text) and taken.isspace():
                plot[near][room] = [Piece(sign, label.line) for sign in label.text]
                return


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        part = step / steps
        yield (
            round(start[0] + (end[0] - start[0]) * part),
            round(start[1] + (end[1] - start[1]) * part),
        )


def _x_axis(chart: Chart, columns: int) -> str:
    axis = [" "] * columns
    free = 0
    name = f" {chart.x_label}"
    for mark in ticks(chart.x_top):
        text = short(mark)
        start = max(0, round(mark / chart.x_top * (columns - 1)) - len(text) // 2)
        if start >= free and start + len(text) + len(name) <= columns:
            axis[start : start + len(text)] = text
            free = start + len(text) + 1
    if free + len(name) <= columns:
        axis[columns - len(name) :] = name
    return "".join(axis)
