"""A run's report.html: one page for any browser, next to the images that it shows."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..config.config import CONCEPTS, Config, all_settings
from ..config.settings import Setting
from ..files.atomic import write_atomic
from ..files.own import is_own_file
from .events import Event, Warning, read_events
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
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 320px; vertical-align: top; }
figcaption { font-size: 13px; color: #666; }
.sheet { overflow-x: auto; }
.sheet th:first-child { min-width: 8rem; max-width: 16rem; }
.sheet td img { width: 192px; max-width: none; }
.photos img { height: 128px; margin: 0 .3rem .3rem 0; }
"""
Images = Mapping[tuple[str, int], Mapping[int, str]]  # by prompt and seed, and by step, as HTML


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


def write_report(
    run: Run,
    config: Config,
    last: Event,
    sections: Sequence[Section] = (),
    photos: Sequence[bytes] = (),
) -> None:
    """Write a run's page from its config and events.

    Args:
        last: how the run ended; not yet among its events.
        sections: shown before the run's own.
        photos: small JPEG files of training photos, which become part of the page.
    """
    view = View.of([*read_events(run.events), last])
    title = escape(run.folder.name)
    body = [f"<h1>{title}</h1>", *summary(view)]
    body += [line for section in sections for line in section_html(section)]
    body += [*photos_html(photos), *samples_html(run, view), *notes_html(view)]
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
        columns = {f"subject {n}": in_words(own) for n, own in enumerate(concepts, start=1)}
        yield Section("Subjects", table=columns)
    yield Section("Settings", table={"": in_words(shared)})


def in_words(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of settings as a reader would write them."""
    specs = {spec.name: spec for _, spec in all_settings()}
    return {name: value_text(specs[name], value) for name, value in values.items()}


def value_text(spec: Setting, value: Any) -> str:
    if value is None or value in ("", []):
        return spec.none
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def summary(view: View) -> Iterator[str]:
    """Yield how the run began, and how it ended."""
    texts = list(map(start_text, view.starts))
    if view.end is not None:
        texts.append(end_text(view.end, resume="", full_path=True))
    for text in texts:
        yield f"<p>{escape(text)}</p>"


def notes_html(view: View) -> Iterator[str]:
    """Yield the notes, of each kind one; others of the kind can be opened below it."""
    kinds: dict[str, list[Warning]] = {}
    for note in view.warnings.values():
        kinds.setdefault(note.code, []).append(note)
    if kinds:
        yield "<h2>Notes</h2>"
    for first, *more in kinds.values():
        yield f"<p>{escape(warning_text(first))}</p>"
        if more:
            lines = "<br>".join(escape(note.message) for note in more)
            yield f"<details><summary>{len(more)} more of this kind</summary>{lines}</details>"


def photos_html(photos: Sequence[bytes]) -> Iterator[str]:
    """Yield the training photos, as a part of the page."""
    if not photos:
        return
    yield '<h2>Training photos</h2>\n<p class="photos">'
    for photo in photos:
        yield f'<img src="data:image/jpeg;base64,{b64encode(photo).decode()}" alt="">'
    yield "</p>"


def samples_html(run: Run, view: View) -> Iterator[str]:
    """Yield the images before and after training, and those of all steps by their prompts."""
    prompts = {
        key: {step: image_html(file) for step, file in files.items()}
        for key, files in view.sample_files(run.samples).items()
    }
    steps = sorted({step for images in prompts.values() for step in images})
    if len(steps) > 1:
        yield "<h2>Before and after</h2>"
        yield from before_and_after(prompts, steps)
    if prompts:
        yield "<h2>Samples</h2>"
        yield from sheet(prompts, steps)


def image_html(file: Path) -> str:
    return f'<img src="{escape(f"{file.parent.name}/{file.name}")}" alt="">'


def before_and_after(prompts: Images, steps: Sequence[int]) -> Iterator[str]:
    """Yield the first prompt's first and last image."""
    (prompt, _), images = next(iter(prompts.items()))
    for step in (steps[0], steps[-1]):
        if step in images:
            caption = f"{step_text(step)}: {escape(prompt)}"
            yield f"<figure>{images[step]}<figcaption>{caption}</figcaption></figure>"


def sheet(prompts: Images, steps: Sequence[int]) -> Iterator[str]:
    """Yield a table with a row for each prompt and a column for each step."""
    titles = "".join(f"<th>{step_text(step)}</th>" for step in steps)
    yield f'<div class="sheet"><table><tr><th></th>{titles}</tr>'
    for (prompt, seed), images in prompts.items():
        cells = "".join(f"<td>{images.get(step, '')}</td>" for step in steps)
        yield f"<tr><th>{escape(prompt)}<br><small>seed {seed}</small></th>{cells}</tr>"
    yield "</table></div>"


def step_text(step: int) -> str:
    return f"step {step}" if step else "before training"


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
