"""The study of what each setting does: how its trainings are compared."""

from __future__ import annotations

import pytest

from benchmarks.quality import summary
from trainer.worker.minisd.measures import MEANINGS


def measured(fidelity: float) -> dict[str, float]:
    return dict.fromkeys(MEANINGS, 0.0) | {"fidelity": fidelity}


def test_a_difference_is_between_trainings_of_one_subject_and_seed() -> None:
    found = summary(
        {
            "default, dog, 0": measured(0.2),
            "default, dog, 1": measured(0.4),
            "default, car, 0": measured(0.9),
            "no prior, dog, 0": measured(0.3),
            "no prior, dog, 1": measured(0.7),
            "no prior, car, 0": measured(0.8),
            "no prior, robot, 0": measured(1.0),  # its default is not done: no difference
        }
    )
    assert set(found) == {"default", "no prior"}
    assert found["no prior"]["trials"] == 4
    fidelity = found["no prior"]["fidelity"]
    assert fidelity["mean"] == pytest.approx(0.7)
    assert fidelity["deviation"] == pytest.approx(0.2944, abs=1e-4)  # of 0.3, 0.7, 0.8, 1.0
    # dog: mean of +0.1 and +0.3; car: -0.1
    assert fidelity["difference"] == pytest.approx(0.05)
    assert fidelity["error"] == pytest.approx(0.15)


def test_one_subject_has_no_spread_to_judge_a_difference_by() -> None:
    found = summary({"default, dog, 0": measured(0.2), "no prior, dog, 0": measured(0.3)})
    assert found["no prior"]["fidelity"] == {"mean": 0.3, "deviation": 0.0}
