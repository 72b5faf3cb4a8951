"""The demo in a terminal, drawn with rich."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from leaksafe.demo.act import Run
from leaksafe.demo.chart import Chart, braille
from leaksafe.demo.show import Show

_COLOURS = ("dark_orange", "deep_sky_blue1", "green3")
_PAUSE = 0.1
_CHART_WIDTH = 110
_CHART_HEIGHT = 14
_BESIDE = 72


class Screen(Show):
    """Draws the sides beside each other, their chart below, and redraws them as they report."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        self._console = console
        self._live: Live | None = None
        self._drawn = 0.0

    def close(self) -> None:
        """Take away what is redrawn, and give the terminal its cursor back."""
        if self._live:
            self._live.update("", refresh=True)  # at its stop it would print all that was cut off
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, style="dim", highlight=False, markup=False)

    def preparing(self, done: int, total: int) -> None:
        """Show a progress bar."""
        if self._is_due():
            row = Table.grid(padding=(0, 1))
            bar = ProgressBar(total, done, width=30)
            row.add_row("reading the standard library's source", bar, f"{done:,} files")
            self._draw(row)

    def start(self, run: Run) -> None:
        """Show the act before anything is measured."""
        self._draw(self._stage(run))

    def update(self, run: Run, side: int) -> None:
        """Redraw, unless it was done a moment ago."""
        if self._is_due():
            self._draw(self._stage(run))

    def finish(self, run: Run) -> None:
        """Leave the result on the screen."""
        self.close()
        width = min(self._console.width, _CHART_WIDTH)
        self._console.print(
            Group(
                _heading(run),
                _sides(run, self._console.width),
                _drawing(run.chart(), width, _CHART_HEIGHT),
            ),
            Text(run.act.meaning(run)),
            highlight=False,
        )

    def _stage(self, run: Run) -> RenderableType:
        # What is higher than the window can't be redrawn in place: the chart gets what is left.
        rest = Group(_heading(run), _sides(run, self._console.width))
        left = self._console.height - len(self._console.render_lines(rest)) - 4
        if left < -3:
            return _brief(run)
        width = min(self._console.width, _CHART_WIDTH)
        return Group(rest, _drawing(run.chart(), width, min(left, _CHART_HEIGHT)))

    def _draw(self, picture: RenderableType) -> None:
        if not self._live:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(picture, refresh=True)
        self._drawn = time.monotonic()

    def _is_due(self) -> bool:
        return time.monotonic() - self._drawn >= _PAUSE


def _heading(run: Run) -> RenderableType:
    return Group(Text(run.act.title, style="bold"), Text(run.job.note, style="dim"))


def _sides(run: Run, width: int) -> RenderableType:
    panels = [_side(run, side) for side in range(len(run.job.sides))]
    if width < _BESIDE:
        return Group(*panels)
    beside = Table.grid(expand=True, padding=(0, 1))
    for _ in panels:
        beside.add_column(ratio=1)
    beside.add_row(*panels)
    return beside


def _side(run: Run, side: int) -> RenderableType:
    colour = _colour(side)
    done, total = run.last(side).done, run.job.total
    figures = Table.grid(expand=True)
    figures.add_column(style="dim")
    figures.add_column(justify="right", no_wrap=True)
    for number, (name, text) in enumerate(run.named(side)):
        figures.add_row(name, Text(text, style="" if number else f"bold {colour}"))
    progress = Table.grid(expand=True, padding=(0, 1))
    progress.add_column(ratio=1)
    progress.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total, done, complete_style=colour, finished_style=colour)
    progress.add_row(bar, f"{done / total:.0%}")
    title = Text(run.job.sides[side], style=f"bold {colour}")
    return Panel(Group(progress, figures), title=title, title_align="left", border_style="dim")


def _brief(run: Run) -> RenderableType:
    rows = Table.grid(padding=(0, 1))
    for side, label in enumerate(run.job.sides):
        done = f"{run.last(side).done / run.job.total:.0%}"
        rows.add_row(done, run.named(side)[0][1], Text(label, style=_colour(side)))
    return rows


def _drawing(chart: Chart, width: int, height: int) -> RenderableType:
    rows = [
        Text.assemble(
            *(
                (piece.text, "dim" if piece.line is None else _colour(piece.line))
                for piece in pieces
            )
        )
        for pieces in braille(chart, width, height)
    ]
    return Group(Text(chart.y_label, style="dim"), *rows) if rows else Text()


def _colour(line: int) -> str:
    return _COLOURS[line % len(_COLOURS)]
