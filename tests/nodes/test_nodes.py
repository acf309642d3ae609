"""The ComfyUI nodes' own logic, without ComfyUI."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import ModuleType

import pytest
from PIL import Image

from tests.helpers.bad_input import time_limit

PACK = Path(__file__).parents[2]
ALIAS = "dreambooth_pack"  # ComfyUI also loads the pack under its own name
HOST_FREE = "checks class_sets fields graph job lora_fit presets prompts wires"


def pack_module(name: str) -> ModuleType:
    """Return a module of the pack, loaded the way ComfyUI loads it."""
    if ALIAS not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            ALIAS, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[ALIAS] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[ALIAS])
    return importlib.import_module(f"{ALIAS}.{name}")


checks = pack_module("nodes.checks")
class_sets = pack_module("nodes.class_sets")
fields = pack_module("nodes.fields")
graph = pack_module("nodes.graph")
grid = pack_module("trainer.photos.pictures")
job = pack_module("nodes.job")
lora_fit = pack_module("nodes.lora_fit")
presets = pack_module("nodes.presets")
sheet = pack_module("nodes.sheet")
task = pack_module("nodes.task")
prompts = pack_module("nodes.prompts")
wires = pack_module("nodes.wires")
config = pack_module("trainer.config.config")
config_presets = pack_module("trainer.config.presets")
families = pack_module("trainer.model_files.families")
settings = pack_module("trainer.config.settings")
events = pack_module("trainer.runs.events")
history = pack_module("trainer.runs.history")
class_set = pack_module("trainer.photos.class_set")
run = pack_module("trainer.runs.run")
ConfigError = pack_module("trainer.errors").ConfigError
Lock = pack_module("trainer.files.lock").Lock
PHOTO_SETTINGS = [*fields.PHOTO_BASIC, *fields.PHOTO_ADVANCED]


def node(class_type: str, **inputs: object) -> dict[str, object]:
    return {"class_type": class_type, "inputs": inputs}


def straight_graph() -> dict[str, dict]:
    return {
        "12:3": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
        "4": node("DreamBoothTrain", model=["12:3", 0], clip=["12:3", 1], vae=["12:3", 2], rank=4),
    }


def with_lora(strength: float = 1.0) -> dict[str, dict]:
    """The straight graph with a LoRA on the MODEL wire."""
    prompt = straight_graph()
    prompt["5"] = node("LoraLoaderModelOnly", model=["12:3", 0], lora_name="a", strength=strength)
    prompt["4"]["inputs"]["model"] = ["5", 0]
    return prompt


def no_file(text: str) -> None:
    return None


def key_of(prompt: dict[str, dict], file_stamp=no_file) -> str:
    return graph.wires_key(prompt, "4", ("model", "clip", "vae"), file_stamp)


def test_every_setting_is_an_input_of_a_node_or_comes_over_the_wires():
    shown = {*PHOTO_SETTINGS, *fields.TRAIN_SETTINGS, *fields.CLASS_SETTINGS.values()}
    assert shown | fields.FROM_WIRES == {spec.name for _, spec in config.all_settings()}
    assert not shown & fields.FROM_WIRES
    assert not fields.TRAIN_SETTINGS & set(PHOTO_SETTINGS)


def test_advanced_settings_are_behind_advanced_inputs_in_the_configs_order():
    advanced = {spec.name for spec in fields.SETTINGS.values() if spec.advanced}
    assert not advanced & {*fields.PHOTO_BASIC, *fields.TRAIN_BASIC}
    for names in (fields.PHOTO_ADVANCED, fields.TRAIN_ADVANCED):
        assert list(names) == [name for name in fields.SETTINGS if name in names]


def test_host_free_modules_import_nothing_heavy_and_nothing_of_the_host():
    code = f"""
import importlib, importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "pack", {str(PACK / "__init__.py")!r}, submodule_search_locations=[{str(PACK)!r}])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["pack"])
for name in {HOST_FREE!r}.split():
    importlib.import_module("pack.nodes." + name)
heavy = "torch diffusers transformers peft accelerate safetensors comfy comfy_api folder_paths"
print([name for name in heavy.split() if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_straight_wire_is_the_loaders_file():
    found = graph.straight_wires(straight_graph(), "4")
    assert (found.checkpoint, found.vae) == ("sd15.safetensors", None)


def test_clip_skip_changes_no_weight():
    prompt = straight_graph()
    prompt["5"] = node("CLIPSetLastLayer", clip=["12:3", 1], stop_at_clip_layer=-2)
    prompt["4"]["inputs"]["clip"] = ["5", 0]
    assert graph.straight_wires(prompt, "4").checkpoint == "sd15.safetensors"


@pytest.mark.parametrize(
    ("family", "layer", "clip_skip", "note"),
    [
        ("sd1", None, None, None), ("sd1", -1, None, None), ("sd1", -2, 2, None),
        ("sd1", -12, 12, None), ("sd2", -2, None, None), ("sdxl", -2, None, None),
        ("sdxl", None, None, None), ("sdxl", -1, None, "stops at layer -1. Training ignores"),
        ("sd2", -3, None, "SD 2.x always reads its text encoders' second-to-last layer"),
    ],
)  # fmt: skip
def test_the_clip_wires_layer_is_trained_where_the_family_has_a_choice(
    family, layer, clip_skip, note
):
    found, notes = wires.clip_skip_of(layer, families.FAMILIES[family])
    assert found == clip_skip
    assert (note in notes[0]) if note else not notes


def test_the_clip_wires_layer_is_a_setting_and_part_of_what_was_trained():
    photos, output = photo_set(), Path("loras/dog.safetensors")
    keys = set()
    for clip_skip in (None, 2):
        wire = dataclasses.replace(base(), clip_skip=clip_skip)
        made = job.make_config({}, wire, photos, None, output)
        assert made.model.clip_skip == clip_skip
        keys.add(job.fingerprint(made, wire, photos, None))
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (node("VAELoader", vae_name="fine.safetensors"), ("vae", "fine.safetensors")),
        (node("CheckpointLoaderSimple", ckpt_name="other.ckpt"), ("checkpoints", "other.ckpt")),
    ],
)
def test_a_vae_of_its_own_is_named(loader, expected):
    prompt = straight_graph() | {"5": loader}
    prompt["4"]["inputs"]["vae"] = ["5", 0 if expected[0] == "vae" else 2]
    assert graph.straight_wires(prompt, "4").vae == expected


@pytest.mark.parametrize(
    "patched",
    [
        node("LoraLoader", model=["12:3", 0], clip=["12:3", 1], lora_name="a.safetensors"),
        node("EfficientLoader", ckpt_name="sd15.safetensors", lora_name="a.safetensors"),
        node("CheckpointLoaderSimple", ckpt_name=["9", 0]),
        node("CheckpointLoaderSimple", ckpt_name="another.safetensors"),
    ],
    ids=["LoRA", "loader with more inputs", "linked name", "other checkpoint"],
)
def test_a_patched_wire_is_not_straight(patched):
    prompt = straight_graph() | {"5": patched}
    prompt["4"]["inputs"]["model"] = ["5", 0]
    assert graph.straight_wires(prompt, "4") is None


def test_a_list_of_two_file_names_is_not_a_link():
    assert graph.as_link(["a.png", "b.png"]) is None
    assert graph.as_link(["7", 1]) == graph.Link("7", 1)


def test_the_key_of_patched_wires_depends_on_what_led_there_and_not_on_ids():
    renamed = json.loads(json.dumps(with_lora()).replace('"5"', '"77"'))
    assert key_of(renamed) == key_of(with_lora())
    assert key_of(with_lora(0.5)) != key_of(with_lora())
    assert key_of(with_lora(), lambda text: len(text)) != key_of(with_lora())


def test_the_key_ignores_the_training_nodes_own_settings():
    changed = with_lora()
    changed["4"]["inputs"]["rank"] = 8
    assert key_of(changed) == key_of(with_lora())


def test_a_zero_means_none_where_a_number_is_optional():
    given = {"alpha": 0, "sample_every": 0, "noise_offset": 0.0, "sample_prompts": " a \n\nb\n"}
    values = job.setting_values(given)
    assert values == {
        "alpha": None, "sample_every": None, "noise_offset": 0.0, "sample_prompts": ("a", "b"),
    }  # fmt: skip


def test_a_preset_fills_in_only_what_is_left_at_its_default():
    filled = presets.with_preset({"rank": 16, "max_train_steps": 50}, "style", shown=False)
    assert (filled["rank"], filled["max_train_steps"]) == (32, 50)
    assert "crop_mode" not in filled  # the photos have their own


def test_a_default_in_a_field_that_showed_the_preset_is_kept():
    filled = presets.with_preset({"rank": 16}, "style", shown=True)
    assert (filled["rank"], filled["max_train_steps"]) == (16, 1500)  # the second has no field


def test_the_page_knows_what_a_preset_fills_in():
    shown = presets.page_values()
    assert list(shown) == list(config_presets.PRESETS)
    assert shown["sdxl-lora-published"]["train_layers"] == "*attn1*, *attn2*"
    assert {name for values in shown.values() for name in values} <= {*fields.SETTINGS}


@pytest.mark.parametrize(
    ("preset", "family", "refused"),
    [
        ("sdxl-lora", "sd1", True), ("sdxl-lora-published", "sd2", True), ("face", "sd1", False),
        ("sd15-full", "sd1", False), ("none", "sdxl", False),
    ],
)  # fmt: skip
def test_a_preset_for_another_kind_of_model_is_refused(preset, family, refused):
    if not refused:
        presets.require_family(preset, families.FAMILIES[family])
        return
    with pytest.raises(ConfigError, match=f"The preset {preset} is for SDXL; the model is SD"):
        presets.require_family(preset, families.FAMILIES[family])


def training_graph(**changes: dict[str, object]) -> dict[str, dict]:
    """A dog's photos and class images to a training; `changes` are inputs by node."""
    prompt = {
        "photos": node(
            "DreamBoothLoadInstanceImages", class_prompt="a photo of a dog",
            instance_prompt="a photo of sks dog",
        ),
        "classes": node("DreamBoothGenerateClassImages", class_prompt="a photo of a dog"),
        "train": node(
            "DreamBoothTrain", preset="none", instance_set=["photos", 0], class_set=["classes", 0]
        ),
    }  # fmt: skip
    for name, inputs in changes.items():
        prompt[name]["inputs"].update(inputs)
    return prompt


def check_graph(prompt: dict[str, dict], shown: str = "a photo of a dog") -> None:
    checks.check_trainings(prompt, "classes", shown, families.FAMILIES["sd1"])


def test_a_training_that_would_be_refused_is_refused_before_its_class_images():
    check_graph(training_graph())
    check_graph(training_graph(), "A photo of  a dog")
    check_graph(training_graph(photos={"class_prompt": ""}), "a cat")  # is asked once
    check_graph(training_graph(photos={"class_prompt": ["text", 0]}), "a cat")  # not known yet
    check_graph(training_graph(train={"class_set": ["others", 0]}), "a cat")
    with pytest.raises(
        ConfigError, match="has the class prompt 'a cat', Load .* 'a photo of a dog'"
    ):
        check_graph(training_graph(), "a cat")
    with pytest.raises(ConfigError, match="The preset sdxl-lora is for SDXL; the model is SD 1.x"):
        check_graph(training_graph(train={"preset": "sdxl-lora"}))


@pytest.mark.parametrize("link", ["photos", "train", "nowhere"])
def test_photos_that_are_linked_in_a_circle_or_to_nothing_end_the_search(link):
    with time_limit():
        check_graph(training_graph(photos={"instance_set": [link, 0]}))


def test_class_images_for_one_of_several_subjects_are_generated():
    prompt = training_graph(photos={"instance_set": ["cat", 0]})
    prompt["cat"] = node("DreamBoothLoadInstanceImages", class_prompt="a photo of a cat")
    check_graph(prompt, "a photo of a cat")
    with pytest.raises(ConfigError, match="has the class prompt 'a bird'"):
        check_graph(prompt, "a bird")


def test_an_instance_prompt_without_a_rare_word_is_refused():
    checks.check_prompts("a photo of sks dog", "a photo of a dog")
    checks.check_prompts("a photo of sks dog", "")
    with pytest.raises(ConfigError, match="are both 'a photo of a dog'"):
        checks.check_prompts("A photo of a dog ", "a photo of a dog")


def test_photo_settings_that_differ_from_the_preset_are_named():
    instance = config.InstanceConfig(("a.png",), "a photo of sks dog", subject_kind="style")
    assert presets.preset_differences("style", instance) == [
        "The preset suggests crop_mode=none; Load Instance Images uses center, which wins."
    ]
    assert presets.preset_differences("none", instance) == []


@pytest.mark.parametrize("name", ["../x", "CON", "", "a/b", "a:b", " "])
def test_output_names_are_plain_file_names(name):
    with pytest.raises(ConfigError, match="output_name"):
        job.output_path(Path("loras"), name)


def test_the_ending_of_an_output_name_may_be_given():
    assert job.output_path(Path("loras"), "dog.safetensors") == Path("loras/dog.safetensors")


def base(sha: str = "aa") -> object:
    return wires.Base({"base": sha}, Path("sd15.safetensors"), None, "epsilon")


def photo_set(**settings: object) -> object:
    instance = config.read_group(
        config.InstanceConfig,
        {"instance_images": ("a.png",), "instance_prompt": "a photo of sks dog", **settings},
    )
    return wires.InstanceSet(instance, "a photo of a dog", "f0")


def class_images(**settings: object) -> object:
    made_from = {"base": "aa", "class_prompt": "a photo of a cat", **settings}
    return wires.ClassImages(Path("classes"), 7, made_from)


def make_config(values: dict, *, classes: object = None, **photo_settings: object) -> object:
    photos = photo_set(**photo_settings)
    return job.make_config(values, base(), photos, classes, Path("loras/dog.safetensors"))


def test_class_images_on_the_wire_bring_their_prompt_and_number():
    photos = dataclasses.replace(photo_set(), class_prompt="")
    output = Path("loras/dog.safetensors")
    made = job.make_config({"num_class_images": 100}, base(), photos, class_images(), output)
    prior = made.concepts[0].prior
    assert prior.class_images == "classes"
    assert (prior.class_prompt, prior.num_class_images) == ("a photo of a cat", 7)


def test_without_them_the_photos_class_prompt_counts():
    prior = make_config({"num_class_images": 12}).concepts[0].prior
    assert (prior.class_prompt, prior.num_class_images) == ("a photo of a dog", 12)
    assert prior.class_images is None


def test_class_images_of_another_class_are_refused():
    with pytest.raises(ConfigError, match="'a photo of a cat', Load Instance Images 'a photo of a"):
        make_config({}, classes=class_images())


@pytest.mark.parametrize("made_from", [{"base": "bb"}, {"base": None, "patched_base": "aa"}])
def test_class_images_of_another_model_are_refused(made_from):
    with pytest.raises(ConfigError, match="generated with a different model"):
        make_config({}, classes=class_images(**made_from))


def two_subjects(second_class: str = "a photo of a cat", key: str = "f1") -> object:
    """A dog and a cat, the cat in the last node."""
    cat = photo_set(instance_prompt="a photo of ohwx cat", concept_weight=2)
    return dataclasses.replace(
        cat, class_prompt=second_class, fingerprint=key, others=(photo_set(),)
    )


def config_of(photos: object, classes: object = None) -> object:
    return job.make_config({"rank": 4}, base(), photos, classes, Path("loras/dog.safetensors"))


def test_every_subject_is_a_concept_in_the_order_of_the_graph():
    made = config_of(two_subjects())
    assert [concept.instance.instance_prompt for concept in made.concepts] == [
        "a photo of sks dog", "a photo of ohwx cat",
    ]  # fmt: skip
    assert [concept.instance.concept_weight for concept in made.concepts] == [1, 2]
    assert [c.prior.class_prompt for c in made.concepts] == ["a photo of a dog", "a photo of a cat"]


def test_class_images_go_to_the_subject_of_their_class():
    dog, cat = config_of(two_subjects(), class_images()).concepts
    assert dog.prior.class_images is None
    assert (cat.prior.class_images, cat.prior.num_class_images) == ("classes", 7)
    with pytest.raises(ConfigError, match="has the class prompt 'a photo of a cat'"):
        config_of(two_subjects("a photo of a bird"), class_images())


def test_the_fingerprint_holds_every_subject():
    def key(photos: object) -> str:
        return job.fingerprint(config_of(photos), base(), photos, None)

    one, two = photo_set(), two_subjects()
    keys = {key(one), key(two), key(two_subjects(key="f2")), key(two_subjects("a cat"))}
    assert len(keys) == 4
    assert key(two_subjects()) == key(two)


def fingerprint(values: dict, sha: str = "aa", **photo_settings: object) -> str:
    made = make_config(values, **photo_settings)
    return job.fingerprint(made, base(sha), photo_set(**photo_settings), None)


def test_the_fingerprint_holds_what_shapes_the_lora_and_nothing_else():
    plain = fingerprint({})
    assert fingerprint({"save_every": 7, "sample_every": 9}) == plain
    assert fingerprint({"rank": 3}) != plain
    assert fingerprint({}, flip=True) != plain
    assert fingerprint({}, "bb") != plain


def make_run(folder: Path, name: str, last: object, key: str = "k") -> object:
    made = run.Run(folder / name)
    made.folder.mkdir()
    task.Task(make_config({}), key, made, frozenset()).begin()
    started = events.Started(
        run=str(made.folder), family="sd1", device="cpu", dtype="float32", num_instance_images=3,
        num_class_images=0, start_step=0, max_train_steps=4, trainable_parameters=1,
        memory_plan={},
    )  # fmt: skip
    lines = [events.to_line(event) for event in (started, last) if event]
    made.events.write_text("".join(line + "\n" for line in lines), "utf-8")
    return made


@pytest.mark.parametrize("kind", ["lora", "checkpoint"])
def test_a_finished_run_with_the_same_inputs_is_found_while_its_result_is_there(tmp_path, kind):
    lora = tmp_path / "dog.safetensors"
    lora.write_bytes(b"x")
    make_run(tmp_path, "dog", events.Finished(4, str(lora), kind, 1.0))
    make_run(tmp_path, "other", events.Finished(4, str(lora), "lora", 1.0), key="another")
    (found,) = history.runs_from(tmp_path, "k", [tmp_path])
    assert (found.finished_result, found.result_kind, found.family) == (lora, kind, "sd1")
    assert history.lost_results(tmp_path, [tmp_path]) == []
    lora.unlink()
    assert history.runs_from(tmp_path, "k", [tmp_path])[0].finished_result is None
    assert len(history.lost_results(tmp_path, [tmp_path])) == 2


def test_a_stopped_run_resumes_unless_asked_to_start_over(tmp_path):
    stopped = make_run(tmp_path, "dog", events.Stopped(2, "", "", True))
    past = history.runs_from(tmp_path, "k", [tmp_path])
    assert task.next_run(tmp_path, "dog", past, job.RESUME) == stopped
    assert task.next_run(tmp_path, "dog", past, job.START_OVER).folder == tmp_path / "dog_2"
    assert task.next_run(tmp_path, "dog", [], job.RESUME).folder == tmp_path / "dog_3"


def test_a_killed_run_can_be_resumed(tmp_path):
    killed = make_run(tmp_path, "dog", None)
    assert (
        task.next_run(tmp_path, "dog", history.runs_from(tmp_path, "k", [tmp_path]), job.RESUME)
        == killed
    )


def make_set(cache: Path, cfg: float, count: int) -> object:
    prior = config.PriorConfig(class_prompt="a photo of a dog")
    settings = class_sets.shaping_settings(prior, {"base": "aa"}, {"cfg": cfg, "steps": 2})
    images = class_set.class_set(cache, settings)
    complete(images, count)
    return images


def complete(images: object, count: int, show=pytest.fail, before=lambda: None) -> list[int]:
    """Fill a set with plain images; return the indices of the new ones."""
    made: list[int] = []

    def make(missing: list[int]) -> None:
        before()
        for index in missing:
            Image.new("RGB", (8, 8)).save(images.path(index))
            made.append(index)

    class_sets.complete(images, count, check=lambda: None, show=show, make=make)
    return made


def test_a_class_set_is_made_by_one_process_while_the_other_waits(tmp_path):
    images = class_set.ClassSet(tmp_path, {"class_prompt": "a photo of a dog"})
    locked, waited = Event(), Event()
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        waited.set()

    def hold() -> None:
        locked.set()
        assert waited.wait(60)  # the other process is waiting

    with ThreadPoolExecutor() as pool:
        first = pool.submit(complete, images, 3, before=hold)
        assert locked.wait(60)
        second = pool.submit(complete, images, 3, show=show)
        assert (first.result(), second.result()) == ([0, 1, 2], [])
    assert shown[0].endswith("0 of 3")


def test_a_cancel_ends_the_wait_for_another_process(tmp_path):
    images = class_set.ClassSet(tmp_path, {})
    lock = Lock(tmp_path / "lock")
    assert lock.take()

    def cancel() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        class_sets.complete(images, 1, check=cancel, show=pytest.fail, make=pytest.fail)
    lock.release()
    assert complete(images, 1) == [0]


def test_class_images_are_counted_and_an_older_set_explained(tmp_path):
    assert (
        class_sets.report_text(make_set(tmp_path, 7.0, 2), 3) == "3 class images: 2 reused, 1 new"
    )
    report = class_sets.report_text(make_set(tmp_path, 8.0, 0), 3)
    assert report.splitlines() == [
        "3 class images: 0 reused, 3 new",
        "An older set for this prompt differs in cfg.",
    ]


LAYERS = {"lora_unet_a_to_q": (8, 4), "lora_te_b": (4, 4), "text.model.c": None}


def lora_shapes(name: str, inner: int = 4, outer: int = 8) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.lora_down.weight": (2, inner),
        f"{name}.lora_up.weight": (outer, 2),
        f"{name}.alpha": (),
    }


@pytest.mark.parametrize("name", ["lora_unet_a_to_q", "text.model.c"])
def test_a_lora_that_fits_is_taken_silently(name):
    assert lora_fit.require_fit(lora_fit.compare(lora_shapes(name), LAYERS), "a", True) is None


@pytest.mark.parametrize(
    "shapes",
    [lora_shapes("lora_unet_z"), lora_shapes("lora_unet_a_to_q", inner=5), {}],
    ids=["unknown names", "another size", "empty"],
)
def test_a_lora_for_another_base_is_refused(shapes):
    with pytest.raises(ConfigError, match="does not fit this model"):
        lora_fit.require_fit(lora_fit.compare(shapes, LAYERS), "a.safetensors", False)


def test_weights_that_do_not_fit_are_a_warning_for_foreign_loras_and_an_error_for_our_own():
    fit = lora_fit.compare(lora_shapes("lora_unet_a_to_q") | lora_shapes("lora_unet_z"), LAYERS)
    assert (
        lora_fit.require_fit(fit, "a", False)
        == "3 of 6 weights do not fit this model and are ignored."
    )
    with pytest.raises(ConfigError, match="does not fit this model"):
        lora_fit.require_fit(fit, "a", True)


@pytest.mark.parametrize(
    ("trigger", "subject"),
    [
        ("a photo of sks dog", "sks dog"),
        ("sks dog", "sks dog"),
        ("a picture in the style of sks", "sks"),
    ],
)
def test_the_subject_takes_its_place_in_prompts(trigger, subject):
    filled = prompts.filled_prompts("{subject} on a beach\n\n a cat \n", trigger)
    assert filled == [f"{subject} on a beach", "a cat"]


def test_prompts_are_refused_when_empty_or_when_the_subject_is_unknown():
    with pytest.raises(ConfigError, match="prompts is empty"):
        prompts.filled_prompts(" \n", "a photo of sks dog")
    with pytest.raises(ConfigError, match="no trigger"):
        prompts.filled_prompts("{subject}", "")


def test_a_grid_has_a_row_for_each_prompt():
    pictures = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    rows = [grid.Row("a photo of sks dog on a beach at noon, very long", pictures)] * 2
    sheet = grid.labelled_grid(rows)
    assert sheet.width == 2 * grid.MARGIN_PX + 2 * 64 + grid.GAP_PX
    colors = {sheet.getpixel((grid.MARGIN_PX + 10, y)) for y in range(sheet.height)}
    assert (255, 0, 0) in colors
    assert sheet.height > 2 * 48


def test_example_workflows_have_thumbnails_and_consistent_links():
    files = sorted((PACK / "example_workflows").glob("*.json"))
    assert len(files) >= 3
    for file in files:
        assert file.with_suffix(".jpg").exists()
        workflow = json.loads(file.read_text("utf-8"))
        nodes = {node["id"]: node for node in workflow["nodes"]}
        for number, source, slot, target, place, kind in workflow["links"]:
            output, entry = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
            assert number in output["links"] and entry["link"] == number
            assert (output["type"], entry["type"]) == (kind, kind)


def test_example_workflows_name_the_values_of_our_nodes_and_the_settings_accept_them():
    shown = {
        "DreamBoothLoadInstanceImages": {name: name for name in PHOTO_SETTINGS},
        "DreamBoothGenerateClassImages": fields.CLASS_SETTINGS,
        "DreamBoothTrain": {name: name for name in fields.TRAIN_SETTINGS},
    }
    own = {"preset", "output_name"}
    for file in sorted((PACK / "example_workflows").glob("*.json")):
        for node in json.loads(file.read_text("utf-8"))["nodes"]:
            assert not (node["type"].startswith("DreamBooth") and "widgets_values" in node)
            for name, value in node.get("widgets_values_named", {}).items():
                if node["type"] in shown and name not in own:
                    settings.check_value(fields.SETTINGS[shown[node["type"]][name]], value)


def test_every_node_has_a_help_page():
    ids = ["LoadInstanceImages", "GenerateClassImages", "Train", "LoRALoader", "Sample"]
    ids += ["SuggestIdentifier"]
    pages = {page.stem for page in (PACK / "web" / "docs").glob("*.md")}
    assert pages == {f"DreamBooth{name}" for name in ids}


@pytest.mark.parametrize(
    ("own", "trigger"),
    [('["sks dog", "ohwx cat"]', "sks dog"), ('[""]', ""), (None, "both"), ("{", "both"),
     ("3", "both"), ("[]", "both"), ("[3]", "")],
)  # fmt: skip
def test_the_trigger_in_a_lora_is_its_first_subjects(own, trigger):
    metadata = {prompts.TRIGGER_KEY: "both"} | ({} if own is None else {"dreambooth_triggers": own})
    assert prompts.trigger_prompt(metadata) == trigger


def test_the_parentheses_of_our_triggers_are_plain_text_for_comfyui():
    trigger = {prompts.TRIGGER_KEY: "sks dog (brown)"}
    assert prompts.trigger_prompt(trigger) == "sks dog (brown)"  # another trainer's words
    own = {"dreambooth_triggers": '["sks dog (brown)"]'}
    assert prompts.trigger_prompt(own) == r"sks dog \(brown\)"


def test_a_run_is_shown_on_one_sheet_of_prompts_and_steps(tmp_path):
    made = run.Run(tmp_path / "dog")
    made.samples.mkdir(parents=True)
    lines = []
    for step, index in ((200, 0), (200, 1), (400, 0), (400, 1)):
        path = made.samples / f"step_{step:06d}_{index}.png"
        Image.new("RGB", (64, 64), (step % 256, 99, index)).save(path)
        lines.append(events.to_line(events.Sample(step, str(path), f"prompt {index}", 0)))
    made.events.write_text("\n".join(lines) + "\n", "utf-8")
    Image.new("RGB", (9, 9)).save(made.samples / "step_000300_0.png")  # not the run's
    with Image.open(sheet.write_sheet(made)) as shown:
        assert shown.width < 3 * 64 and shown.height > 2 * 64
        colors = {color for _, color in shown.convert("RGB").getcolors(10_000)}
    assert {(200, 99, 0), (200, 99, 1), (144, 99, 0), (144, 99, 1)} <= colors
    assert sheet.write_sheet(run.Run(tmp_path / "none")) is None


def test_a_sheet_of_many_steps_shows_the_first_the_last_and_some_between():
    assert sheet.picked([200, 400]) == [200, 400]
    assert sheet.picked(list(range(100, 2001, 100))) == [100, 500, 900, 1200, 1600, 2000]
