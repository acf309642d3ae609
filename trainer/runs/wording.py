"""The words for what happens in a run, the same in the terminal, the hosts and the report."""

from __future__ import annotations

from pathlib import Path

from .events import Failed, Finished, Last, Progress, Rating, Started, Status, Stopped, Warning

__all__ = [
    "SAVING", "clock", "end_text", "progress_text", "rate_text", "rating_text", "stage_text",
    "start_text", "status_text", "warning_text",
]  # fmt: skip

SAVING = "Stopping: saving progress …"
RESULTS = {"lora": "LoRA", "checkpoint": "Checkpoint", "embedding": "Embedding"}
GIB = 1024**3


def stage_text(event: Status) -> str:
    """Return what is being done, without how far it is."""
    return event.message or event.stage.replace("_", " ").capitalize()


def status_text(event: Status) -> str:
    """Return what is being done and how far it is, where that can be counted."""
    count = f" {event.done}/{event.total}" if event.total else ""
    return stage_text(event) + count


def progress_text(event: Progress) -> str:
    """Return the step with its loss, the speed and the time left."""
    parts = ""
    if event.prior_loss is not None:
        parts = f" (instance {event.instance_loss:.4f}, class {event.prior_loss:.4f})"
    return (
        f"Step {event.step}/{event.max_train_steps}, loss {event.loss:.4f}{parts}, "
        f"{rate_text(event.steps_per_sec)}, ETA {clock(event.eta_sec)}, "
        f"peak memory {event.peak_memory_gib:.1f} GiB"
    )


def rate_text(steps_per_sec: float) -> str:
    """Return the speed in steps per second or, below one, in seconds per step."""
    slow = steps_per_sec < 1
    return f"{1 / max(steps_per_sec, 1e-9):.2f} s/step" if slow else f"{steps_per_sec:.2f} steps/s"


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def start_text(event: Started) -> str:
    """Return what is trained, on what, and with how much memory."""
    memory = sum(event.memory_plan.values())
    return (
        f"Training {event.family} on {event.device} in {event.dtype}: "
        f"{event.num_instance_images} instance images, {event.num_class_images} class images, "
        f"steps {event.start_step + 1} to {event.max_train_steps}, "
        f"{event.trainable_parameters / 1e6:.1f} M trainable parameters, "
        f"about {memory / GIB:.1f} GiB. {event.captions}"
    ).strip()


def warning_text(event: Warning) -> str:
    """Return what the user should know, and what to do about it."""
    return f"{event.message} {event.hint}".strip()


def rating_text(event: Rating) -> str:
    """Return what a word is, and how much it means to the base in percent of an ordinary word."""
    strength = "weak" if event.weak else "strong"
    return f"{event.word}: {event.tokens}, {strength} prior ({event.prior:.0%})"


def end_text(last: Last, *, resume: str, full_path: bool = False) -> str:
    """Return how a job ended.

    Args:
        resume: how to resume a stopped run in this host.
        full_path: whether to show where the result is, not only its name.
    """
    if isinstance(last, Failed):
        log = f" Log: {last.log_path}" if last.log_path else ""
        return f"{last.message} {last.hint}{log}"
    file = last.result_path if full_path else Path(last.result_path).name
    result = RESULTS[last.result_kind] if last.result_kind else ""
    if isinstance(last, Finished):
        return f"Finished in {clock(last.seconds)}." + (f" {result}: {file}" if result else "")
    return stopped_text(last, f" {result} so far: {file}." if result else "", resume)


def stopped_text(last: Stopped, result: str, resume: str) -> str:
    where = f" at step {last.step}" if last.step else ""
    later = f" {resume}" if last.resumable and resume else ""
    return f"Stopped{where}.{result}{later}"
