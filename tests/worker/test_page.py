"""The commands of docs/distributed.md, run as they are written, on a tiny model.

Its two machines are two launches on loopback, and the queues' own commands are stand-ins that run
at once what they are given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.environment.environment import worker_env
from trainer.runs.events import Finished, Progress, Started, read_events

PACK = Path(__file__).parents[2]
PAGE = PACK / "docs" / "distributed.md"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="gloo between processes is tried on Linux"),
]
SMALL = {
    "resolution": 64, "rank": 2, "max_train_steps": 2, "mixed_precision": "no",
    "num_class_images": 2, "class_inference_steps": 1, "sample_inference_steps": 1,
}  # fmt: skip
STAND_INS = {
    "srun": '#!/bin/bash\nexec "$@"\n',
    "scontrol": '#!/bin/bash\necho "$@" >> requeued\n',
    "sbatch": """#!/bin/bash
last="${1#--array=1-}"
for task in $(seq 1 "$last"); do
    SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=7$task bash "${@:2}" || echo "task $task: $?"
done
""",
    "sky": f"""#!{sys.executable}
import os, subprocess, sys, yaml
_, jobs, launch, file, flag, env, *_more = sys.argv
assert (jobs, launch, flag) == ("jobs", "launch", "--env")
task = yaml.safe_load(open(file))
given = dict(task["envs"]) | dict([env.split("=")])
text = task["run"].replace("/bucket", os.getcwd())
subprocess.run(["bash", "-ec", text], check=True, env=os.environ | given)
""",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint, photos: Path) -> Path:
    """A folder that looks like the pack's after its installation, with all that the page names."""
    folder = tmp_path_factory.mktemp("pack")
    for name in ("trainer", "docs", "dreambooth.py"):
        (folder / name).symlink_to(PACK / name)
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copy(tiny_checkpoint("sd1"), folder / "sd15.safetensors")
    for subject in ("dog", "cat"):
        shutil.copytree(photos, folder / "photos" / subject)
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    write(folder / "dog.json", json.loads(block) | SMALL)
    for name in ("one", "two"):
        job = {**json.loads(block), **SMALL, "output": f"loras/{name}.safetensors"}
        write(folder / "jobs" / f"{name}.json", job)
    for name, text in STAND_INS.items():
        write_command(folder / "bin" / name, text)
    return folder


def write(path: Path, document: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")


def write_command(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.S)


def bash(place: Path, text: str) -> subprocess.Popen[str]:
    path = f"{place / 'bin'}:{place / '.venv' / 'bin'}:{os.environ['PATH']}"
    own = {"DREAMBOOTH_PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PATH": path}
    return subprocess.Popen(
        ["bash", "-euc", text], cwd=place, env=worker_env() | own, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(place: Path, *texts: str) -> str:
    """Run blocks of the page at the same time; returns what they printed."""
    started = [bash(place, text) for text in texts]
    printed = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(texts), "\n".join(printed)
    return "\n".join(printed)


def steps(place: Path, run_name: str) -> list[int]:
    """The steps that a finished run has done, in order."""
    events = list(read_events(place / "runs" / run_name / "events.jsonl"))
    assert isinstance(events[-1], Finished), events[-1]
    return [event.step for event in events if isinstance(event, Progress)]


def files(place: Path) -> dict[str, int]:
    """All that a training writes, with the time of each."""
    found = [p for part in ("runs", "loras") for p in (place / part).rglob("*") if p.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_the_page_as_it_is_written(place):
    lora, full, pets, resume, first, second, loop, slurm, sky = blocks()
    run(place, lora)
    assert steps(place, "dog") == [1, 2] and (place / "loras/dog.safetensors").exists()
    write(place / "dog.json", json.loads((place / "dog.json").read_text()) | {"max_train_steps": 3})
    run(place, resume)
    assert steps(place, "dog") == [1, 2, 3]

    run(place, full)
    (end,) = [
        event
        for event in read_events(place / "runs/dog_full/events.jsonl")
        if isinstance(event, Finished)
    ]
    assert end.result_kind == "checkpoint" and (place / "models/dog.safetensors").exists()
    run(place, pets)
    (start,) = [
        event
        for event in read_events(place / "runs/pets/events.jsonl")
        if isinstance(event, Started)
    ]
    assert (start.num_instance_images, start.num_class_images) == (6, 4)

    run(place, first, second)
    assert steps(place, "dog_on_two") == [1, 2, 3]
    assert [p.name for p in (place / "runs").glob("dog_on_two*")] == ["dog_on_two"]

    run(place, loop)
    assert steps(place, "one") == steps(place, "two") == [1, 2]
    done = files(place)
    assert "task" not in run(place, slurm) and files(place) == done
    shutil.rmtree(place / "runs" / "two")
    run(place, slurm)
    assert steps(place, "two") == [1, 2]
    assert not (place / "requeued").exists()
    done = files(place)
    run(place, sky)
    assert files(place) == done


def test_a_task_that_is_stopped_goes_back_into_slurms_queue(place):
    write_command(place / "stopped" / "srun", "#!/bin/bash\nexit 3\n")
    text = f'PATH="{place}/stopped:$PATH"; sbatch --array=1-1 docs/queue/slurm.sh jobs'
    assert "task 1: 3" in run(place, text)
    assert (place / "requeued").read_text() == "requeue 71\n"
    (place / "requeued").unlink()
