"""A run's report.html: one page for any browser, next to the images that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..config.config import CONCEPTS, Config
from ..files.atomic import write_atomic
from ..files.own import is_own_file
from .events import Event, read_events
from .run import Run
from .view import View
from .wording import end_text, start_text, warning_text

__all__ = ["Section", "write_report"]

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
        picture: name of an image in the run folder; empty: none.
        table: columns by title, each with its values by the name of their row.
    """

    title: str
    text: str = ""
    picture: str = ""
    table: Mapping[str, Mapping[str, Any]] | None = None


def write_report(run: Run, config: Config, last: Event, sections: Sequence[Section] = ()) -> None:
    """Write a run's page from its config and events.

    Args:
        last: how the run ended; not yet among its events.
        sections: shown before the run's own.
    """
    view = View.of([*read_events(run.events), last])
    title = escape(run.folder.name)
    body = [f"<h1>{title}</h1>", *summary(view)]
    body += [line for section in sections for line in section_html(section)]
    body += samples_html(run, view)
    if is_own_file(run.loss_plot):
        body += section_html(Section("Loss", picture=run.loss_plot.name))
    body += [line for section in settings_sections(config) for line in section_html(section)]
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>'
    page = "\n".join([head, f"<style>{STYLE}</style>", *body, ""])
    write_atomic(run.report, page.encode(errors="replace"))  # a half character in a prompt


def settings_sections(config: Config) -> Iterator[Section]:
    """Yield the settings, with a column for each of several concepts."""
    shared = config.flat()
    if concepts := shared.pop(CONCEPTS, []):
        columns = {f"concept {number}": own for number, own in enumerate(concepts, start=1)}
        yield Section("Concepts", table=columns)
    yield Section("Settings", table={"": shared})


def summary(view: View) -> Iterator[str]:
    """Yield how the run began, its warnings, and how it ended."""
    texts = [*map(start_text, view.starts), *map(warning_text, view.warnings.values())]
    if view.end is not None:
        texts.append(end_text(view.end, resume="", full_path=True))
    for text in texts:
        yield f"<p>{escape(text)}</p>"


def samples_html(run: Run, view: View) -> Iterator[str]:
    """Yield the images that were sampled during training, in the order of their steps."""
    sampled = {Path(path).name: event for path, event in view.samples.items()}
    found = {name: event for name, event in sampled.items() if is_own_file(run.samples / name)}
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
