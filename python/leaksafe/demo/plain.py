"""Plain lines, for pipes, for CI, and where rich isn't installed."""

from __future__ import annotations

from leaksafe.demo.act import Run
from leaksafe.demo.show import Show

_EVERY = 10


class Plain(Show):
    """Prints a line for each side at every tenth of the way."""

    def __init__(self) -> None:
        """Begin at the start."""
        self._next: list[int] = []

    def preparing(self, done: int, total: int) -> None:
        """Say once that this takes a moment."""
        if done == 1:
            self.say("reading the standard library's source ...")

    def start(self, run: Run) -> None:
        """Print the title and where the input comes from."""
        self._next = [_EVERY] * len(run.job.sides)
        self.say(f"{run.act.title}: {run.job.note}")

    def update(self, run: Run, side: int) -> None:
        """Print a line if the next tenth is reached."""
        percent = run.last(side).done * 100 // run.job.total
        if percent >= self._next[side]:
            self._next[side] = percent - percent % _EVERY + _EVERY
            self.say(f"{percent:3}%  {_figures(run, side)}")

    def finish(self, run: Run) -> None:
        """Print the result."""
        self.say("result:")
        for side in range(len(run.job.sides)):
            self.say(f"      {_figures(run, side)}")
        self.say(run.act.meaning(run))

    def close(self) -> None:
        """Nothing to stop."""

    def say(self, text: str) -> None:
        """Print a line at once."""
        print(text, flush=True)


def _figures(run: Run, side: int) -> str:
    label = f"{run.job.sides[side]}:".ljust(max(map(len, run.job.sides)) + 1)
    return f"{label} {run.listed(side)}"
