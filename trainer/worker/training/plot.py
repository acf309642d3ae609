"""The loss plot of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib

from ...files.atomic import write_atomic
from ...runs.events import read_events
from ...runs.run import Run
from ...runs.view import View

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after the backend is chosen

__all__ = ["plot_losses"]

SMOOTHING_SHARE = 0.05


def plot_losses(run: Run) -> None:
    """Plot loss.png from the run's events: each step faintly, the moving average boldly.

    Without the run's name, which may have letters that no font here has.
    """
    view = View.of(read_events(run.events))
    if not view.steps:
        return
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=100)
    add_curve(axes, view.points("instance_loss"), "instance images", "C0")
    if prior := view.points("prior_loss"):
        add_curve(axes, prior, "class images", "C1")
    axes.set(xlabel="step", ylabel="mean squared error")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    pyplot.close(figure)
    write_atomic(run.loss_plot, buffer.getvalue())


def add_curve(
    axes: pyplot.Axes, points: Sequence[tuple[int, float]], label: str, color: str
) -> None:
    steps, losses = zip(*points, strict=True)
    axes.plot(steps, losses, color=color, alpha=0.25, linewidth=1)
    axes.plot(steps, moving_average(losses), color=color, linewidth=2, label=label)


def moving_average(values: Sequence[float]) -> list[float]:
    """Return the mean over a window that ends at each value."""
    width = max(1, round(len(values) * SMOOTHING_SHARE))
    windows = (values[max(0, end - width) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]
