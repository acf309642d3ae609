"""The study of what each setting does: what it trains, and how its trainings are compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import quality
from benchmarks.quality import (
    EXTRACTED,
    PERFECT,
    TABLES,
    VARIANTS,
    Trial,
    cell,
    page,
    read_trials,
    summary,
    trial_config,
)
from trainer.runs.run import Run
from trainer.worker.evaluation.measures import MEANINGS


def measured(fidelity: float) -> dict[str, float]:
    return dict.fromkeys(MEANINGS, 0.0) | {"fidelity": fidelity}


def test_a_subject_counts_once_and_is_compared_seed_by_seed() -> None:
    found = summary(
        {
            "base, dog, 0": measured(0.1),
            "base, car, 0": measured(0.0),
            "default, dog, 0": measured(0.2),
            "default, dog, 1": measured(0.4),
            "default, car, 0": measured(0.9),
            "no prior, dog, 0": measured(0.3),
            "no prior, dog, 1": measured(0.7),
            "no prior, car, 0": measured(0.8),
            "no prior, robot, 0": measured(1.0),  # its default is not done: no difference
        }
    )
    assert {name: row["trials"] for name, row in found.items()} == {
        "base": 2, "default": 3, "no prior": 4,
    }  # fmt: skip
    fidelity = found["no prior"]["fidelity"]
    assert fidelity["mean"] == pytest.approx(2.3 / 3, abs=1e-4)  # of 0.5, 0.8, 1.0
    assert fidelity["deviation"] == pytest.approx(0.2517, abs=1e-4)
    assert fidelity["seeds"] == pytest.approx(0.2828, abs=1e-4)  # of the dog's 0.3 and 0.7
    # dog: mean of +0.1 and +0.3; car: -0.1
    assert fidelity["difference"] == pytest.approx(0.05)
    assert fidelity["error"] == pytest.approx(0.15)
    # dog: 0.1 - mean of 0.2 and 0.4; car: 0.0 - 0.9
    assert found["base"]["fidelity"]["difference"] == pytest.approx(-0.55)


def test_one_subject_has_no_spread_to_judge_a_difference_by() -> None:
    found = summary({"default, dog, 0": measured(0.2), "no prior, dog, 0": measured(0.3)})
    assert found["no prior"]["fidelity"] == {"mean": 0.3, "deviation": 0.0}


@pytest.mark.parametrize(
    ("error", "shown"), [(0.03, "**(+0.10 ± 0.03)**"), (0.04, "(+0.10 ± 0.04)")]
)
def test_only_a_difference_far_beyond_its_error_stands_out(error: float, shown: str) -> None:
    value = {"mean": 0.5, "deviation": 0.2, "difference": 0.1, "error": error}
    assert cell(value, paired=True) == f"0.50 ± 0.20<br>{shown}"
    assert cell(value, paired=False) == "0.50 ± 0.20"


def test_each_variant_differs_from_the_default_in_what_its_name_says(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    changed = {}
    for name, variant in VARIANTS.items():
        noun = quality.noun_of(variant, quality.subject("dog", 1))
        trigger = f"sks {noun}".strip()
        config = trial_config(Trial(name, "dog", 1), variant, run, trigger, noun or "dog")
        changed[name] = config.flat()
    default = changed.pop("default")
    changes = {
        name: {key: value for key, value in values.items() if value != default[key]}
        for name, values in changed.items()
    }
    assert default["seed"] == 1 and default["max_train_steps"] == 500
    assert changes == {
        "no prior": {"num_class_images": 0},
        "base's prediction": {"prior_target": "prediction"},
        "base's prediction on the photos": {
            "prior_target": "prediction",
            "class_images": str(tmp_path / "run" / "photos"),
            "num_class_images": 5,
        },
        "wrong noun": {
            "instance_prompt": "a photo of a sks mushroom",
            "class_prompt": "a photo of a mushroom",
        },
        "no noun": {"instance_prompt": "a photo of a sks"},
        **{f"photos {number}": {} for number in (1, 2, 3)},  # these are drawn, not configured
        "text encoder": {"train_text_encoder": True, "text_encoder_learning_rate": 5e-4},
        "full": {"method": "full", "learning_rate": 1e-4},
        "full with text encoder": {
            "method": "full",
            "learning_rate": 1e-4,
            "train_text_encoder": True,
        },
        "rank 4": {"rank": 4},
        "rank 64": {"rank": 64},
        "rate 0.0003": {"learning_rate": 3e-4},
        "rate 0.003": {"learning_rate": 3e-3},
        "steps 200": {"max_train_steps": 200},
        "steps 300": {"max_train_steps": 300},
        "steps 1000": {"max_train_steps": 1000},
    }
    assert [VARIANTS[f"photos {number}"].num_photos for number in (1, 2, 3)] == [1, 2, 3]


def test_the_page_shows_what_the_trials_say() -> None:
    found = summary(read_trials(quality.ALL_TRIALS))
    assert json.loads(quality.RESULTS.read_text("utf-8"))["variants"] == found
    assert quality.PAGE.read_text("utf-8").endswith("\n".join(page(found)))


def test_what_was_found_is_what_dreambooth_promises() -> None:
    found = json.loads(quality.RESULTS.read_text("utf-8"))["variants"]
    value = lambda name, measure: found[name][measure]["mean"]  # noqa: E731
    assert value("default", "fidelity") > value("base", "fidelity") + 0.5
    assert value("default", "language_drift") < 0.7 * value("no prior", "language_drift")
    assert value("default", "fidelity") > value("no prior", "fidelity") - 0.15
    for measure in ("prompt_accuracy", "fidelity"):
        nouns = [value(name, measure) for name in ("default", "wrong noun", "no noun")]
        assert nouns == sorted(nouns, reverse=True)
        numbers = [value(f"photos {number}", measure) for number in (1, 2, 3)]
        assert [*numbers, value("default", measure)] == sorted(
            [*numbers, value("default", measure)]
        )
    assert value("steps 300", "fidelity") > value("base", "fidelity") + 0.3
    assert value("steps 300", "prompt_accuracy") > 0.9 * value("base", "prompt_accuracy")


def test_a_measure_that_came_later_is_shown_where_it_is() -> None:
    without = {name: 0.0 for name in MEANINGS if name != "colour_accuracy"}
    both = {"base, dog, 0": measured(0.1), "default, dog, 0": measured(0.2)}
    found = summary(both | {"no prior, dog, 0": without})
    assert "colour_accuracy" in found["default"] and "colour_accuracy" not in found["no prior"]
    lines = list(page(found))
    columns = [line for line in lines if line.startswith("| | n |")]
    assert "colour accuracy" in columns[0] and "colour accuracy" not in columns[1]


def test_the_tables_show_every_variant() -> None:
    shown = {name for names in TABLES.values() for name in names}
    assert shown == {"base", *PERFECT, *VARIANTS, *EXTRACTED.values()}
