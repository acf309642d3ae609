"""report.html of a run: one page for any browser, beside the pictures that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..config.config import Config
from .events import Event, Finished, Sample, Started, Stopped, Warning, read_events
from ..files.atomic import write_atomic
from .run import Run

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto;
       padding: 0 1rem; color: #222; background: #fff; }
img { max-width: 100%; border-radius: 4px; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd;
         vertical-align: top; }
td:last-child { overflow-wrap: anywhere; }
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 256px; vertical-align: top; }
figcaption { font-size: 13px; color: #666; }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        picture: name of a file in the run folder; empty: none.
        table: columns of values by their titles, each by the name of its row.
    """

    title: str
    text: str = ""
    picture: str = ""
    table: Mapping[str, Mapping[str, Any]] | None = None


def write_report(run: Run, config: Config, last: Event, sections: Sequence[Section] = ()) -> None:
    """Write the page from the run's config and events.

    Args:
        last: how the run ended, which is reported only afterwards.
        sections: shown before the run's own.
    """
    events = [*read_events(run.events), last]
    title = escape(run.folder.name)
    body = [f"<h1>{title}</h1>", *summary(events)]
    body += [line for section in sections for line in section_html(section)]
    body += samples_html(run, events)
    if run.loss_plot.exists():
        body += section_html(Section("Loss", picture=run.loss_plot.name))
    body += section_html(Section("Settings", table={"": config.flat()}))
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>'
    page = "\n".join([head, f"<style>{STYLE}</style>", *body, ""])
    write_atomic(run.report, page)


def summary(events: Sequence[Event]) -> Iterator[str]:
    """How the run began, what there is to know, and how it ended."""
    for event in events:
        if isinstance(event, Started):
            yield (
                f"<p>{escape(event.family)} on {escape(event.device)} in {escape(event.dtype)}: "
                f"{event.num_instance_images} instance images, {event.num_class_images} class "
                f"images, steps {event.start_step + 1} to {event.max_train_steps}.</p>"
            )
        elif isinstance(event, Warning):
            yield f"<p>{escape(event.message)} {escape(event.hint)}</p>"
        elif isinstance(event, (Finished, Stopped)):
            word = "Finished" if isinstance(event, Finished) else "Stopped"
            yield f"<p>{word} at step {event.step}: <code>{escape(event.result_path)}</code></p>"


def samples_html(run: Run, events: Sequence[Event]) -> Iterator[str]:
    """The pictures that were drawn while training, in the order of their steps."""
    drawn = {Path(event.path).name: event for event in events if isinstance(event, Sample)}
    found = {name: event for name, event in drawn.items() if (run.samples / name).exists()}
    if found:
        yield "<h2>Samples</h2>"
    for name, event in found.items():
        source = escape(f"{run.samples.name}/{name}")
        caption = f"step {event.step}: {escape(event.prompt)}"
        yield f'<figure><img src="{source}" alt=""><figcaption>{caption}</figcaption></figure>'


def section_html(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    if section.text:
        yield f"<p>{escape(section.text)}</p>"
    if section.picture:
        yield f'<img src="{escape(section.picture)}" alt="{escape(section.title)}">'
    if section.table:
        yield from table_html(section.table)


def table_html(columns: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    titles = "".join(f"<th>{escape(title)}</th>" for title in columns)
    yield f"<table><tr><th></th>{titles}</tr>"
    for name in next(iter(columns.values())):
        cells = "".join(f"<td>{escape(str(column[name]))}</td>" for column in columns.values())
        yield f"<tr><th>{escape(name)}</th>{cells}</tr>"
    yield "</table>"
