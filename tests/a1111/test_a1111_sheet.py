"""The table of a run's images, without a host."""

from __future__ import annotations

from pathlib import Path

from tests.nodes.test_nodes import pack_module

sheet = pack_module("a1111.sheet")
events = pack_module("trainer.runs.events")


def labels(rows: list[dict]) -> list[tuple[str, list[str]]]:
    return [(row["prompt"], [cell["label"] for cell in row["cells"]]) for row in rows]


def given(**names: list[str]) -> dict[str, dict[str, Path]]:
    kinds = ("sample", "before", "after")
    return {kind: {name: Path(f"{name}.png") for name in names.get(kind, [])} for kind in kinds}


def test_a_runs_images_are_a_row_for_each_prompt_from_step_0_to_its_end():
    sampled = [f"step_{step:06d}_{index}" for step in (1_000_000, 200) for index in (1, 0)]
    pairs = ["sample_42", "sample_43"]
    pictures = given(sample=[*sampled, "other"], before=pairs, after=pairs)
    rows = sheet.run_sheet(pictures, ["a dog", "a cat"], 42)
    steps = ["step 0", "step 200", "step 1000000"]
    assert labels(rows) == [
        ("a dog", steps), ("a cat", steps),
        ("a dog", ["before", "after"]), ("a cat", ["before", "after"]),
    ]  # fmt: skip
    assert [row["cells"][0]["id"] for row in rows] == [*pairs, *pairs]


def test_a_single_prompt_is_compared_with_several_seeds_and_a_stopped_comparison_shows_its_own():
    assert (sheet.images_per_prompt(["a"]), sheet.images_per_prompt(["a", "b"])) == (3, 1)
    pictures = given(before=["sample_7", "sample_8", "sample_9"], after=["sample_7"])
    rows = sheet.run_sheet(pictures, ["a dog"], 7)
    assert labels(rows) == [
        ("a dog", ["before", "after"]), ("a dog", ["before"]), ("a dog", ["before"]),
    ]  # fmt: skip


def test_images_of_a_run_whose_prompts_are_not_known_are_still_shown():
    assert labels(sheet.run_sheet(given(sample=["step_000001_3"]), [], 0)) == [("", ["step 1"])]


def test_a_job_shows_its_images_as_they_come():
    def sample(path: str, step: int, prompt: str, seed: int) -> object:
        return events.Sample(step, path, prompt, seed)

    training = [
        sample("/dog/samples/step_000002_0.png", 2, "a", 1),
        sample("/dog/samples/step_000002_1.png", 2, "b", 2),
        sample("/dog/samples/step_000004_0.png", 4, "a", 1),
    ]
    assert labels(sheet.job_sheet(training)) == [("a", ["step 2", "step 4"]), ("b", ["step 2"])]
    comparison = [
        sample("/dog/compare/before/sample_1.png", 0, "a", 1),
        sample("/dog/compare/after/sample_1.png", 0, "a", 1),
    ]
    (row,) = sheet.job_sheet(comparison)
    assert [(cell["kind"], cell["id"]) for cell in row["cells"]] == [
        ("before", "sample_1"), ("after", "sample_1"),
    ]  # fmt: skip
