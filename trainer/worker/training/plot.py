"""The loss plot of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib

from ...files.atomic import write_atomic
from ...runs.events import Progress, read_events
from ...runs.run import Run

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after the backend is chosen

SMOOTHING_SHARE = 0.05


def plot_losses(run: Run) -> None:
    """Draw loss.png from the run's events: each step faintly, the moving average boldly."""
    steps = progress_by_step(run)
    if not steps:
        return
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=100)
    numbers = [event.step for event in steps]
    add_curve(axes, numbers, [event.instance_loss for event in steps], "instance images", "C0")
    prior = [(event.step, event.prior_loss) for event in steps if event.prior_loss is not None]
    if prior:
        add_curve(
            axes, [step for step, _ in prior], [loss for _, loss in prior], "class images", "C1"
        )
    axes.set(xlabel="step", ylabel="mean squared error", title=run.folder.name)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    pyplot.close(figure)
    write_atomic(run.loss_plot, buffer.getvalue())


def progress_by_step(run: Run) -> list[Progress]:
    """The last report of every step, in order; a resumed run repeats some."""
    events = read_events(run.events)
    latest = {event.step: event for event in events if isinstance(event, Progress)}
    return [latest[step] for step in sorted(latest)]


def add_curve(
    axes: pyplot.Axes, steps: Sequence[int], losses: Sequence[float], label: str, color: str
) -> None:
    axes.plot(steps, losses, color=color, alpha=0.25, linewidth=1)
    axes.plot(steps, moving_average(losses), color=color, linewidth=2, label=label)


def moving_average(values: Sequence[float]) -> list[float]:
    """The mean over a window that ends at each value."""
    width = max(1, round(len(values) * SMOOTHING_SHARE))
    windows = (values[max(0, end - width) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]
