"""report.html: what it shows of a run, and that nothing in it is taken for HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trainer.config.config import Config
from trainer.runs.events import Finished, Progress, Sample, Started, Stopped, Warning, to_line
from trainer.runs.report import Section, write_report
from trainer.runs.run import Run

EVIL = '<img src=x onerror="alert(1)">&amp;'


class Page(HTMLParser):
    """A page's tags with their attributes, its text, and what was left open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self) -> list[str | None]:
        return [attributes["src"] for tag, attributes in self.tags if tag == "img"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with two steps, a picture and a note."""
    run = Run(tmp_path / "my dog")
    run.samples.mkdir(parents=True)
    for step in (0, 2):
        (run.samples / f"step_{step:06d}_0.png").write_bytes(b"png")
    run.loss_plot.write_bytes(b"png")
    events = [
        Started(str(run.folder), "sd1", "cpu", "float32", 3, 4, 0, 2, 5, {"weights": 1}),
        Warning("small_photo", f"Photo {EVIL} is small.", "Take another."),
        Warning("small_photo", "Photo b is small.", "Take another."),
        Sample(0, str(run.samples / "step_000000_0.png"), EVIL, 42),
        Progress(1, 2, 0.5, 0.25, 0.25, 1e-4, 2.0, 0.5, 0.1),
        Sample(2, str(run.samples / "step_000002_0.png"), EVIL, 42),
        Sample(2, str(run.samples / "removed.png"), "gone", 42),
    ]
    run.events.write_text("".join(to_line(event) + "\n" for event in events), "utf-8")
    return run


def config() -> Config:
    return Config.from_values(
        {
            "base": "sd15.safetensors",
            "instance_images": ["photos"],
            "instance_prompt": EVIL,
            "output": "my_dog.safetensors",
        }
    )


def test_a_finished_run(run: Run):
    write_report(run, config(), Finished(2, "loras/my_dog.safetensors", "lora", 12.0))
    page = Page(run.report)
    pair = ["samples/step_000000_0.png", "samples/step_000002_0.png"]
    assert page.sources() == [*pair, *pair, "loss.png"]
    assert all((run.folder / str(source)).exists() for source in page.sources())
    for text in (
        "sd1 on cpu in float32: 3 instance images, 4 class images, steps 1 to 2",
        "Finished in 0:00:12",
        "LoRA: loras/my_dog.safetensors",
        "sd15.safetensors",
    ):
        assert text in page.text
    assert "gone" not in page.text


def test_a_stopped_run_without_pictures(tmp_path: Path):
    run = Run(tmp_path / "r")
    run.folder.mkdir()
    write_report(run, config(), Stopped(1, "my_dog.safetensors", "lora", resumable=True))
    page = Page(run.report)
    assert page.sources() == []
    assert "Stopped at step 1" in page.text


def test_nothing_is_taken_for_html(run: Run):
    sections = [Section(EVIL, EVIL, table={EVIL: {EVIL: EVIL}, "b": {EVIL: 2}})]
    write_report(run, config(), Finished(2, EVIL, "lora", 1.0), sections)
    page = Page(run.report)
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert page.text.count(EVIL) >= 7
    assert not re.search(r"<script|javascript:", run.report.read_text("utf-8"))


def test_sections_come_first(run: Run):
    sections = [Section("Measures", "What it came to.", "sheet.png", {"a": {"x": 1, "y": 2}})]
    write_report(run, config(), Finished(2, "l", "lora", 1.0), sections)
    page = Page(run.report)
    assert page.sources()[0] == "sheet.png"
    titles = re.findall(r"<h2>(.*?)</h2>", run.report.read_text("utf-8"))
    own = ["Before and after", "Samples", "Notes", "Loss", "Settings"]
    assert titles == ["Measures", *own]
    assert [tag for tag, _ in page.tags].count("table") == 3


def test_samples_are_a_sheet_of_steps_and_prompts_from_before_training_on(run: Run):
    for step, prompt in ((0, "a dog"), (2, "a dog")):
        path = run.samples / f"step_{step:06d}_1.png"
        path.write_bytes(b"png")
        with run.events.open("a", encoding="utf-8") as file:
            file.write(to_line(Sample(step, str(path), prompt, 43)) + "\n")
    write_report(run, config(), Finished(2, "l", "lora", 1.0))
    text = run.report.read_text("utf-8").partition("<h2>Samples</h2>")[2]
    rows = text.partition("</table>")[0].split("<tr>")[1:]
    assert [re.findall(r">([^<]+)</th>", row) for row in rows[:1]] == [
        ["before training", "step 2"]
    ]
    assert [re.findall(r"step_\d+_\d", row) for row in rows[1:]] == [
        ["step_000000_0", "step_000002_0"], ["step_000000_1", "step_000002_1"],
    ]  # fmt: skip
    assert rows[2].startswith("<th>a dog<br><small>seed 43")


def test_notes_of_one_kind_come_once(run: Run):
    write_report(run, config(), Finished(2, "l", "lora", 1.0))
    page = Page(run.report)
    assert page.text.count("Take another.") == 1
    assert "1 more of this kind" in page.text and "Photo b is small." in page.text


def test_photos_are_part_of_the_page_and_values_are_words(run: Run):
    write_report(run, config(), Finished(2, "l", "lora", 1.0), photos=[b"jpeg"])
    page = Page(run.report)
    assert "data:image/jpeg;base64,anBlZw==" in page.sources()
    assert "None" not in page.text and "[]" not in page.text and "['" not in page.text
