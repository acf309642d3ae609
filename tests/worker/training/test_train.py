"""Whole trainings of tiny real models."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.conftest import CLASS_PROMPT, PROMPT
from trainer.config.config import Config
from trainer.errors import ConfigError
from trainer.runs.control import Control, Stop
from trainer.runs.events import (
    Checkpoint,
    Event,
    Finished,
    Progress,
    Sample,
    Started,
    Status,
    Stopped,
    Warning,
    to_line,
)
from trainer.runs.run import Run
from trainer.worker.base import models
from trainer.worker.device.failures import Diverged
from trainer.worker.training.job import Job
from trainer.worker.training.loop import train
from trainer.worker.training.plot import plot_losses
from trainer.worker.training.prepare import check_sources
from trainer.worker.training.setup import set_up


def changed(config: Config, **values: object) -> Config:
    return Config.from_values(config.flat() | values)


def run_training(
    config: Config, folder: Path, *, resume: bool = False, stop_after: int | None = None
) -> list[Event]:
    """Train as the worker does; `stop_after` asks for a stop during that step."""
    control, events = Control(), []
    run = Run(folder)

    def report(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.step == stop_after:
            control.stop.set()
        if run.folder.exists():
            with run.events.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event.name, **dataclasses.asdict(event)}) + "\n")

    try:
        events.append(train(Job(config, run, resume, report, control)))
    finally:
        run.lock.release()
    return events


def newest_state(folder: Path) -> dict[str, torch.Tensor]:
    """Weights and optimizer of the last checkpoint of a run."""
    last = max((folder / "checkpoints").iterdir())
    return load_file(last / "trained.safetensors") | load_file(last / "optimizer.safetensors")


def assert_identical(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_prompt": CLASS_PROMPT, "num_class_images": 2, "gradient_accumulation_steps": 2},
        {"train_text_encoder": True, "train_batch_size": 2, "crop_mode": "random", "num_crops": 2},
        {"lr_scheduler": "cosine", "lr_warmup_steps": 2, "noise_offset": 0.1, "snr_gamma": 5.0},
    ],
    ids=["plain", "prior and accumulation", "text encoder and crops", "schedule and weighting"],
)
def test_four_steps_equal_two_and_two_after_a_stop_bit_for_bit(make_config, tmp_path, settings):
    straight = make_config(**settings)
    run_training(straight, tmp_path / "runs" / "straight")
    broken = changed(straight, sample_every=1, save_every=1)
    folder = tmp_path / "runs" / "broken"
    stopped = run_training(broken, folder, stop_after=2)[-1]
    assert isinstance(stopped, Stopped)
    assert (stopped.step, stopped.resumable) == (2, True)
    events = run_training(broken, folder, resume=True)
    assert next(e for e in events if isinstance(e, Started)).start_step == 2
    assert [e.step for e in events if isinstance(e, Progress)] == [3, 4]
    assert_identical(newest_state(tmp_path / "runs" / "straight"), newest_state(folder))


def test_a_stopped_run_leaves_a_usable_lora_until_the_finished_one_replaces_it(
    make_config, tmp_path
):
    config = make_config(sample_every=1)
    stopped = run_training(config, tmp_path / "runs" / "r", stop_after=2)[-1]
    folder = Path(stopped.result_path).parent
    early = load_file(stopped.result_path)
    others = [folder / name for name in ("dog-step00000003.safetensors", "mine.safetensors")]
    for other in others:  # the first is named as if it were this run's
        save_file(early, other)
    names = {path.name for path in folder.glob("dog-step00000002.*")}
    assert names == {f"dog-step00000002{suffix}" for suffix in (".safetensors", ".json", ".png")}
    sample = tmp_path / "runs" / "r" / "samples" / "step_000001_0.png"
    assert (folder / "dog-step00000002.png").read_bytes() == sample.read_bytes()
    with (tmp_path / "runs" / "r" / "events.jsonl").open("a", encoding="utf-8") as file:
        for path in (stopped.result_path, *others):
            file.write(to_line(Stopped(2, str(path), "lora", True)) + "\n")
    finished = run_training(config, tmp_path / "runs" / "r", resume=True)[-1]
    assert not list(folder.glob("dog-step00000002.*"))
    assert all(other.exists() for other in others)
    assert isinstance(stopped, Stopped) and isinstance(finished, Finished)
    assert Path(stopped.result_path).name == "dog-step00000002.safetensors"
    assert Path(finished.result_path).name == "dog.safetensors"
    late = load_file(finished.result_path)
    assert early.keys() == late.keys()
    assert any(not torch.equal(early[name], late[name]) for name in early)


def test_a_stop_while_a_sample_is_drawn_saves_at_that_step(make_config, tmp_path):
    control, trained = Control(), []

    def stop_at_sampling(event: Event) -> None:
        trained.extend([event] if isinstance(event, Progress) else [])
        if isinstance(event, Status) and event.stage == "sampling" and trained:
            control.stop.set()

    run = Run(tmp_path / "runs/r")
    stopped = train(Job(make_config(sample_every=1), run, False, stop_at_sampling, control))
    assert isinstance(stopped, Stopped) and stopped.step == 1
    assert [file.name for file in run.samples.iterdir()] == ["step_000000_0.png"]
    assert Path(stopped.result_path).exists()


def test_samples_begin_with_what_the_base_makes_of_the_prompt(make_config, tmp_path):
    config = make_config(sample_every=2)
    events = run_training(config, tmp_path / "runs/r")
    samples = [event for event in events if isinstance(event, Sample)]
    assert [sample.step for sample in samples] == [0, 2, 4]
    assert len({(sample.prompt, sample.seed) for sample in samples}) == 1
    assert events.index(samples[0]) < next(
        index for index, event in enumerate(events) if isinstance(event, Progress)
    )
    page = (tmp_path / "runs/r" / "report.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 3  # the photos
    assert "before training" in page


def test_a_stop_before_the_first_step_leaves_a_run_that_can_be_done(make_config, tmp_path):
    run, control = Run(tmp_path / "runs/r"), Control()

    def stop_at_the_end_of_caching(event: Event) -> None:
        if isinstance(event, Status) and event.stage == "caching" and event.done == event.total:
            control.stop.set()

    with pytest.raises(Stop):
        train(Job(make_config(), run, False, stop_at_the_end_of_caching, control))
    run.lock.release()
    assert not run.checkpoints.exists() and not (tmp_path / "loras").exists()
    events = run_training(make_config(), run.folder, resume=True)
    assert [e.step for e in events if isinstance(e, Progress)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("error", "advice"),
    [(FloatingPointError("black"), "learning_rate"), (MemoryError("full"), "Lower the resolution")],
)
def test_a_sample_that_cannot_be_drawn_costs_no_training(
    make_config, tmp_path, monkeypatch, error, advice
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("trainer.worker.training.training.draw_series", fail)
    events = run_training(make_config(sample_every=2), tmp_path / "runs/r")
    warned = [e for e in events if isinstance(e, Warning)]
    hints = [e.hint for e in warned if e.code == "sample_failed"]
    assert len(hints) == 3 and advice in hints[0]
    assert ("resolution" in hints[0]) is (advice == "Lower the resolution")
    assert isinstance(events[-1], Finished) and Path(events[-1].result_path).exists()


def test_the_loss_plot_has_no_text_that_its_font_may_lack(make_config, tmp_path):
    run_training(make_config(max_train_steps=2), tmp_path / "runs/dog")
    shutil.copytree(tmp_path / "runs/dog", tmp_path / "runs/犬 $x_")
    for name in ("dog", "犬 $x_"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plot_losses(Run(tmp_path / "runs" / name))
    plots = [Run(tmp_path / "runs" / name).loss_plot.read_bytes() for name in ("dog", "犬 $x_")]
    assert plots[0] == plots[1]


def test_a_plot_that_another_program_keeps_locked_costs_no_training(
    make_config, tmp_path, monkeypatch
):
    def locked(run: Run) -> None:
        raise PermissionError(13, "used by another process", str(run.loss_plot))

    monkeypatch.setattr("trainer.worker.training.training.plot_losses", locked)
    events = run_training(make_config(), tmp_path / "runs/r")
    assert "plot_failed" in [e.code for e in events if isinstance(e, Warning)]
    assert isinstance(events[-1], Finished) and Path(events[-1].result_path).exists()


def test_a_run_can_be_stopped_while_its_photos_are_read(make_config, tmp_path):
    control, run, told = Control(), Run(tmp_path / "runs/r"), []

    def stop_at_the_first_photo(event: Event) -> None:
        if isinstance(event, Status) and event.message == "Reading photos":
            told.append(event.done)
            control.stop.set()

    with pytest.raises(Stop):
        train(Job(make_config(), run, False, stop_at_the_first_photo, control))
    assert told == [0]
    assert not run.config.exists()


def test_a_torn_line_of_events_disturbs_no_resume(make_config, tmp_path):
    run_training(make_config(), tmp_path / "runs/r", stop_after=2)
    with Run(tmp_path / "runs/r").events.open("a") as file:
        file.write('{"event": "progr\n\n')
    events = run_training(make_config(), tmp_path / "runs/r", resume=True)
    assert isinstance(events[-1], Finished)


def test_infinite_gradients_stop_the_run_before_they_reach_a_weight(make_config, tmp_path):
    job = Job(make_config(), Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    training = set_up(job)
    first = next(iter(training.model.trained.parameters()))
    first.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(Diverged, match="Gradients became NaN or infinite at step 1"):
        training.update(1)
    assert all(torch.isfinite(p).all() for p in training.model.trained.parameters())


def test_max_train_steps_may_be_raised_later(make_config, tmp_path):
    config = make_config(max_train_steps=2)
    run_training(config, tmp_path / "runs" / "r")
    run_training(changed(config, max_train_steps=4), tmp_path / "runs" / "r", resume=True)
    run_training(make_config(), tmp_path / "runs" / "straight")
    assert_identical(
        newest_state(tmp_path / "runs" / "straight"), newest_state(tmp_path / "runs" / "r")
    )


def test_resume_with_a_changed_setting_or_photo_names_it(make_config, photos, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for photo in photos.iterdir():
        (folder / photo.name).write_bytes(photo.read_bytes())
    config = make_config(instance_images=(str(folder),))
    run_training(config, tmp_path / "runs" / "r", stop_after=1)
    with pytest.raises(ConfigError, match="these settings .* rank"):
        run_training(changed(config, rank=8), tmp_path / "runs" / "r", resume=True)
    assert Config.from_json(Run(tmp_path / "runs" / "r").config.read_text("utf-8")) == config
    Image.new("RGB", (90, 90), "blue").save(folder / "photo_1.png")
    with pytest.raises(ConfigError, match="these files .* photo_1.png"):
        run_training(config, tmp_path / "runs" / "r", resume=True)


def test_same_seed_gives_the_same_file_and_another_seed_another(make_config, tmp_path):
    files = []
    for index, seed in enumerate([0, 0, 1]):
        last = run_training(make_config(seed=seed, max_train_steps=2), tmp_path / f"runs{index}/r")[
            -1
        ]
        files.append(load_file(last.result_path))
    assert_identical(files[0], files[1])
    assert any(not torch.equal(files[0][name], files[2][name]) for name in files[0])


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_fresh_adapters_change_nothing(make_config, tmp_path, family):
    job = Job(make_config(family), Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    training = set_up(job)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    embeds = training.model.encode([PROMPT])
    conditions = None
    if embeds.pooled is not None:
        conditions = {"text_embeds": embeds.pooled, "time_ids": torch.full((1, 6), 64)}
    fresh = training.model.unet(latents, 500, embeds.embeds, added_cond_kwargs=conditions).sample
    with torch.no_grad():
        for name, parameter in training.model.trained.named_parameters():
            if name.endswith("lora_up.weight"):
                parameter.fill_(0.01)
    trained = training.model.unet(latents, 500, embeds.embeds, added_cond_kwargs=conditions).sample
    without = models.load_unet(training.parts.base, torch.float32)
    plain = without(latents, 500, embeds.embeds, added_cond_kwargs=conditions).sample
    assert torch.equal(fresh, plain)
    assert not torch.allclose(trained, plain, atol=1e-4)


@pytest.mark.parametrize("mixed_precision", ["bf16", "no"])
def test_adapter_and_optimizer_are_float32_whatever_the_base_is(
    make_config, tmp_path, mixed_precision
):
    job = Job(
        make_config(mixed_precision=mixed_precision, train_text_encoder=True),
        Run(tmp_path / "runs/r"),
        False,
        lambda event: None,
        Control(),
    )
    training = set_up(job)
    training.update(1)
    assert {p.dtype for p in training.model.trained.parameters()} == {torch.float32}
    moments = [state["exp_avg"] for state in training.updater.optimizer.inner.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}
    frozen = {p.dtype for p in training.parts.unet.parameters() if not p.requires_grad}
    assert frozen == {torch.bfloat16 if mixed_precision == "bf16" else torch.float32}


def test_settings_reach_the_optimizer(make_config, tmp_path):
    config = make_config(
        train_text_encoder=True,
        learning_rate=3e-4,
        text_encoder_learning_rate=2e-5,
        weight_decay=0.03,
    )
    job = Job(config, Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    unet, text = set_up(job).updater.optimizer.inner.param_groups
    assert (unet["lr"], text["lr"]) == (3e-4, 2e-5)
    assert (unet["weight_decay"], text["weight_decay"]) == (0.03, 0.03)
    assert (unet["betas"], unet["eps"]) == ((0.9, 0.999), 1e-8)


def test_gradients_are_clipped(make_config, tmp_path):
    config = make_config(max_grad_norm=1e-3)
    job = Job(config, Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    training = set_up(job)
    norms = []
    prepared = training.updater.optimizer.prepared
    inner = prepared.step

    def step() -> None:
        grads = [p.grad for p in training.model.trained.parameters() if p.grad is not None]
        norms.append(torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads])).item())
        inner()

    prepared.step = step
    training.update(1)
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_gradient_checkpointing_changes_no_gradient(make_config, tmp_path):
    grads = []
    for choice in ("off", "on"):
        config = make_config(gradient_checkpointing=choice)
        job = Job(config, Run(tmp_path / choice / "r"), False, lambda event: None, Control())
        training = set_up(job)
        assert training.parts.unet.is_gradient_checkpointing is (choice == "on")
        sum(loss for loss, *_ in training.updater.window_losses(0)).backward()
        parameters = training.model.trained.parameters()
        grads.append([p.grad.clone() for p in parameters if p.grad is not None])
    for off, on in zip(*grads, strict=True):
        torch.testing.assert_close(off, on)


def test_accumulating_four_windows_equals_a_batch_of_four(make_config, tmp_path):
    states = []
    for settings in ({"train_batch_size": 4}, {"gradient_accumulation_steps": 4}):
        folder = tmp_path / str(len(states)) / "r"
        run_training(make_config(max_train_steps=1, **settings), folder)
        states.append(newest_state(folder))
    for name, value in states[0].items():
        if name.endswith(".exp_avg"):  # the mean gradient; Adam's update blows up its rounding
            torch.testing.assert_close(value, states[1][name], atol=1e-7, rtol=1e-4)


def test_whole_photos_of_different_shapes_train_together(make_config, tmp_path):
    config = make_config(crop_mode="none", train_batch_size=3, resolution=256, max_train_steps=1)
    job = Job(config, Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    training = set_up(job)
    shapes = {tuple(image.latents.shape) for image in training.updater.concepts[0].sets[0].images}
    assert len(shapes) > 1
    losses = training.update(1)
    assert losses.prior is None and losses.loss > 0


def test_infinite_loss_stops_the_run_and_keeps_the_last_checkpoint(make_config, tmp_path):
    config = make_config(learning_rate=1.0, max_grad_norm=1000.0, save_every=1, max_train_steps=50)
    job = Job(config, Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    training = set_up(job)
    training.update(1)
    training.save_state(1)
    with torch.no_grad():
        next(iter(training.model.trained.parameters())).fill_(float("nan"))
    with pytest.raises(Diverged, match="step 2"):
        training.update(2)
    assert [path.name for path in job.run.checkpoints.iterdir()] == ["step_000001"]


def test_latents_and_class_images_are_made_once(make_config, tmp_path, monkeypatch):
    config = make_config(class_prompt=CLASS_PROMPT, num_class_images=2, max_train_steps=1)
    run_training(config, tmp_path / "runs" / "first")
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/cache").rglob("*") if p.is_file()}
    assert sum(path.suffix == ".png" for path in made) == 2
    run_training(changed(config, num_class_images=3), tmp_path / "runs" / "second")
    now = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/cache").rglob("*") if p.is_file()}
    pictures = [path for path in made if path.suffix in (".png", ".safetensors")]
    assert {path: now[path] for path in pictures} == {path: made[path] for path in pictures}
    assert sum(path.suffix == ".png" for path in now) == 3


@pytest.mark.parametrize("setting", ["prediction_type", "vae"])
def test_a_base_that_is_read_otherwise_makes_class_images_anew(
    make_config, tmp_path, setting, tiny_checkpoint
):
    config = make_config(class_prompt=CLASS_PROMPT, num_class_images=1, max_train_steps=1)
    run_training(config, tmp_path / "runs" / "first")
    other = {"prediction_type": "v_prediction", "vae": str(tiny_checkpoint("sd1", seed=1))}
    run_training(changed(config, **{setting: other[setting]}), tmp_path / "runs" / "second")
    assert len(list((tmp_path / "runs/cache/class_images").iterdir())) == 2


@pytest.mark.parametrize(("resolution", "told"), [(320, True), (384, False)])
def test_a_resolution_far_below_the_bases_own_is_told(make_config, resolution, told):
    warnings = check_sources(make_config(resolution=resolution)).warnings
    assert ("low_resolution" in [warning.code for warning in warnings]) == told


def test_fifty_then_a_hundred_class_images_equal_a_hundred(make_config, tmp_path):
    config = make_config(class_prompt=CLASS_PROMPT, max_train_steps=1, class_batch_size=1)
    pictures = []
    for name, counts in (("two steps", (1, 3)), ("one step", (3,))):
        for count in counts:
            folder = tmp_path / name / f"run{count}"
            run_training(changed(config, num_class_images=count), folder)
        found = sorted((tmp_path / name / "cache").rglob("*.png"))
        pictures.append([path.read_bytes() for path in found])
    assert len(pictures[0]) == 3
    assert pictures[0] == pictures[1]


def test_stale_class_images_are_refused(make_config, tmp_path, tiny_checkpoint):
    config = make_config(class_prompt=CLASS_PROMPT, num_class_images=1, max_train_steps=1)
    run_training(config, tmp_path / "runs" / "first")
    (folder,) = (tmp_path / "runs" / "cache" / "class_images").iterdir()
    with pytest.raises(ConfigError, match="class_prompt 'a photo of a dog', not 'a cat'"):
        run_training(
            changed(config, class_images=str(folder), class_prompt="a cat"), tmp_path / "runs/a"
        )
    other = str(tiny_checkpoint("sd1", seed=1))
    with pytest.raises(ConfigError, match="with base"):
        run_training(changed(config, class_images=str(folder), base=other), tmp_path / "runs/b")
    assert not (tmp_path / "runs/a").exists() and not (tmp_path / "runs/b").exists()


def test_samples_checkpoints_plot_and_card_are_left_behind(make_config, tmp_path):
    config = make_config(
        sample_every=2, save_every=1, checkpoints_total_limit=2, description="my dog",
        sample_prompts=("a photo of sks dog", "sks dog in snow"),
    )  # fmt: skip
    folder = tmp_path / "runs" / "r"
    events = run_training(config, folder)
    samples = [(e.step, e.prompt, e.seed) for e in events if isinstance(e, Sample)]
    assert samples[:2] == [(0, "a photo of sks dog", 42), (0, "sks dog in snow", 43)]
    assert {e.step for e in events if isinstance(e, Sample)} == {0, 2, 4}
    assert {e.step for e in events if isinstance(e, Checkpoint)} == {1, 2, 3, 4}
    assert [p.name for p in sorted((folder / "checkpoints").iterdir())] == [
        "step_000003",
        "step_000004",
    ]
    assert Image.open(folder / "loss.png").size[0] > 300
    assert Config.from_json((folder / "config.json").read_text("utf-8")) == config
    lora = Path(events[-1].result_path)
    assert Image.open(lora.with_suffix(".png")).size == (64, 64)
    card = json.loads(lora.with_suffix(".json").read_text("utf-8"))
    assert card["activation text"] == PROMPT
    assert (card["sd version"], card["description"]) == ("SD1", "my dog")
    with safe_open(str(lora), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["ss_output_name"] == "dog"
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    kept = Config.from_json(metadata["dreambooth_config"])
    assert kept == config.with_paths(lambda path: Path(path).name)
    assert not any(str(tmp_path) in text for text in metadata.values())


def test_loss_of_the_instance_images_falls(make_config, tmp_path):
    config = make_config(max_train_steps=60, learning_rate=5e-3, train_batch_size=3)
    events = run_training(config, tmp_path / "runs" / "r")
    losses = [event.loss for event in events if isinstance(event, Progress)]
    assert sum(losses[-15:]) < 0.9 * sum(losses[:15])


def test_a_damaged_class_image_is_refused_before_anything_is_written(make_config, tmp_path):
    folder = tmp_path / "classes"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no picture")
    config = make_config(class_prompt=CLASS_PROMPT, class_images=str(folder))
    with pytest.raises(ConfigError, match="a.png"):
        run_training(config, tmp_path / "runs" / "r")
    assert not (tmp_path / "runs").exists()
