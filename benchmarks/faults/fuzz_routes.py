"""Posts mutated workflows to a real ComfyUI, and spoils files that its nodes read.

    python -m benchmarks.faults.fuzz_routes --minutes 10 --json benchmarks/results/fuzz_routes.json

Every workflow must end soon, well or with a message of ours that says what to do: no other
exception of our nodes, no server error, no dead or deaf host, no file outside of where results go.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers.comfy_host import ComfyServer
from tests.nodes.test_comfy import (
    CHECKPOINT,
    LAYER,
    PACK,
    SAMPLER,
    class_node,
    graph,
    node,
    photo_node,
    train_node,
)

Json = dict[str, Any]
RUN_SEC = 5  # then the workflow is cancelled, as most that are valid take long
END_SEC = 90  # from the cancel to the end
ANSWER_SEC = 10  # for ComfyUI's answer to a post
OUR_ERRORS = ("ConfigError", "TrainingFailed")  # the last part of the exception's type
NAMES = [
    "", " ", ".", "..", "../x", "..\\x", "..%2f..%2fx", "%2e%2e/x", "/etc", "/etc/passwd",
    "/proc/self/fd",
    "C:\\x", "C:x", "c:/windows", "\\\\server\\share", "//server/share", "\\\\?\\C:\\x",
    "\\\\.\\pipe\\x",
    "a\0b", "a" * 255, "a" * 5000, "a/" * 2000, "~", "~nobody/x", "$HOME", "CON", "NUL.",
    "nul .x", "aux.txt",
    "COM1", "COM¹", "x.", "x ", " x", ".x", "--config", "-rf", "dog.safetensors", "cache", "CACHE",
    "\u202egpj.exe", "a\u200db", "e\u0301", "．．／x", "\ud800", "\udcff.png", "\u2028", "a\nb",
    "a\x1b[2Jb",
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "{subject}", "{0.__class__}",
    "%s%n",
    "x.png [output]", "../x.png [temp]", "[input]", "loop/a.png", "link/passwd", "dog",
    "dog/photo_0.png",
    "embedding:../../x", "(a:1e9)", "a," * 9000, "none", "null", "True", "#ffffff", "rgb(1,2)",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 3, 7, 64, 65, 2**31, 2**32 - 1, 2**63, 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308,
    math.nan, math.inf, -math.inf, "1e9", "NaN", "0x10", "١٢", True, False,
]  # fmt: skip
OTHERS = [None, [], {}, ["a.png"], ["a.png", "b.png", "c"], {"a": 1}, {"__value__": []}, [[]]]
WRAPPED = [["dog/photo_0.png"], ["../x"], ["a", 1, None], {"a": 1}, [["x"]], 5, None, "dog", ["\0"]]


def photos(folder: Path) -> None:
    """Two photos, and links that lead out of the folder or nowhere."""
    rng = np.random.default_rng(0)
    (folder / "dog").mkdir(parents=True)
    for index in range(2):
        pixels = rng.integers(0, 255, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "dog" / f"photo_{index}.png")
    (folder / "link").symlink_to("/etc")
    (folder / "loop").symlink_to("loop")
    (folder / os.fsdecode(b"dog\xff")).mkdir()
    (folder / os.fsdecode(b"dog\xff") / "a.png").write_bytes(
        (folder / "dog" / "photo_0.png").read_bytes()
    )


def lora_bytes(rng: random.Random) -> bytes:
    """A small LoRA, often spoilt in shapes, names, metadata or bytes."""
    weights = {
        f"{LAYER}.lora_up.weight": torch.zeros(320, 2),
        f"{LAYER}.lora_down.weight": torch.zeros(2, 320),
        f"{LAYER}.alpha": torch.tensor(1.0),
    }
    texts = [
        "[]",
        "{",
        "null",
        '{"instance": 5}',
        '{"instance": {"instance_prompt": [1]}}',
        "[" * 99999,
    ]
    metadata = {
        key: rng.choice([*texts, *NAMES])
        for key in ("dreambooth_config", "ss_x", "modelspec.trigger_phrase")
    }
    metadata = {key: text.encode(errors="replace").decode() for key, text in metadata.items()}
    name = rng.choice(list(weights))
    spoilt = [(), (0,), (2,), (2, 2), (320, 3), (2, 320, 1, 1), (1,) * 60]
    if rng.random() < 0.6:
        weights[name] = torch.zeros(rng.choice(spoilt))
    if rng.random() < 0.3:
        odd = [
            ".diff",
            ".hada_w1_a",
            ".lokr_w1",
            ".lora_A.weight",
            ".dora_scale",
            ".lora_mid.weight",
            "",
        ]
        weights[rng.choice([LAYER, "lora_unet_nothing", "x" * 400]) + rng.choice(odd)] = (
            torch.zeros(2, 2)
        )
    data = bytearray(save(weights, metadata))
    if rng.random() < 0.3:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)


def spoil_file(output: Path, rng: random.Random) -> str | None:
    """Damage one of the small files that the nodes have left."""
    kinds = [
        "set.json",
        "inputs.json",
        "events.jsonl",
        "config.json",
        "000000.png",
        "loss.png",
        "state.json",
    ]
    found = sorted(path for path in output.rglob("*") if path.name in kinds)
    if not found:
        return None
    path = rng.choice(found)
    data = path.read_bytes()
    cut = rng.randrange(len(data) + 1)
    html = b'{"class_prompt": "a photo of a dog", "<img src=x onerror=alert(1)>": 1}'
    end = b'{"event": "finished", "time": 1, "step": 1, "result_path": "\\u0000", '
    end += b'"result_kind": "lora", "seconds": 1}\n'
    torn = [data[:cut], data[:cut] + b"\0" + data[cut:], data.replace(b'"', b"'", 1)]
    made = [b"", b"[]", b"null", b"[" * 100000, b"\xff\xfe", html, end, *torn]
    path.write_bytes(rng.choice(made))
    return path.name


def workflow(rng: random.Random) -> tuple[str, Json]:
    """One of our nodes with what it needs, by name."""
    kind = rng.choices(["photos", "classes", "lora", "sample", "train"], [6, 3, 4, 3, 2])[0]
    lora = node(
        "DreamBoothLoRALoader", model=["base", 0], clip=["base", 1], lora_name="spoilt.safetensors",
        strength_model=1.0, strength_clip=1.0,
    )  # fmt: skip
    sample = node(
        "DreamBoothSample", model=["base", 0], clip=["base", 1], vae=["base", 2],
        prompts="a dog", negative_prompt="", num_images=1, width=64, height=64, seed=1, **SAMPLER,
    )  # fmt: skip
    if kind == "photos":
        return kind, graph(photos=photo_node(), shown=node("PreviewImage", images=["photos", 1]))
    if kind == "classes":
        return kind, graph(classes=class_node(), shown=node("PreviewImage", images=["classes", 1]))
    if kind == "lora":
        return kind, graph(lora=lora, shown=node("PreviewAny", source=["lora", 2]))
    if kind == "sample":
        return kind, graph(sample=sample)
    return kind, graph(photos=photo_node(), train=train_node(max_train_steps=1))


def mutate(inputs: Json, rng: random.Random) -> list[str]:
    """Change one to three inputs; links stay."""
    names = [name for name, value in inputs.items() if not isinstance(value, list)]
    names += ["alpha", "sample_prompts", "background", "caption_mode", "num_crops"]
    chosen = rng.sample(names, rng.randint(1, 3))
    for name in chosen:
        pool = rng.choices([NAMES, NUMBERS, OTHERS, WRAPPED], [6, 5, 2, 2])[0]
        value = rng.choice(pool)
        inputs[name] = {"__value__": value} if pool is WRAPPED else value
    return chosen


class Fuzz:
    """One ComfyUI, the workflows that it got, and what came of them."""

    def __init__(self, server: ComfyServer, rng: random.Random) -> None:
        self.server, self.rng = server, rng
        self.outcomes: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.faults: list[Json] = []
        self.slowest_answer_sec = self.slowest_end_sec = 0.0

    def step(self) -> None:
        """Spoil something, post one workflow, and see it end."""
        base = self.server.base_dir
        (base / "models/loras/spoilt.safetensors").write_bytes(lora_bytes(self.rng))
        spoilt = spoil_file(base / "output", self.rng) if self.rng.random() < 0.3 else None
        kind, wanted = workflow(self.rng)
        changed = mutate(wanted[kind]["inputs"], self.rng)
        try:
            outcome, message = self.post(wanted)
        except (AssertionError, OSError, RuntimeError, ValueError) as error:
            outcome, message = "fault", repr(error)[:2000]
        self.outcomes[f"{kind}: {outcome}"] += 1
        if outcome == "fault":
            case = {"kind": kind, "inputs": wanted[kind]["inputs"], "spoilt": spoilt}
            self.faults.append({**case, "message": message})
            print("FAULT", json.dumps(self.faults[-1])[:1500], flush=True)
        elif message:
            self.messages[f"{kind} {sorted(changed)[0]}"] += 1

    def post(self, wanted: Json) -> tuple[str, str]:
        began = time.monotonic()
        answer = self.server._prompt(wanted)
        self.slowest_answer_sec = max(self.slowest_answer_sec, time.monotonic() - began)
        assert time.monotonic() - began < ANSWER_SEC, "the answer took too long"
        if "prompt_id" not in answer or answer["node_errors"]:
            return judge_refusal(answer)
        return self.follow(answer["prompt_id"])

    def follow(self, prompt: str) -> tuple[str, str]:
        """Wait for the end; what takes long is cancelled and must then end soon."""
        history = f"/history/{prompt}"
        deadline = time.monotonic() + RUN_SEC
        while not (entry := self.server.get(history)) and time.monotonic() < deadline:
            time.sleep(0.05)
        began = time.monotonic()
        if not entry:
            self.server.interrupt()
            self.server.wait(prompt, END_SEC)
            self.slowest_end_sec = max(self.slowest_end_sec, time.monotonic() - began)
        status = self.server.get(history)[prompt]["status"]
        kind, details = status["messages"][-1]
        if kind != "execution_error":
            return kind.removeprefix("execution_"), ""
        return judge_error(details)


def judge_refusal(answer: Json) -> tuple[str, str]:
    """Before it runs: ComfyUI's own checks, and ours."""
    errors = [e for found in answer["node_errors"].values() for e in found["errors"]]
    for error in errors:
        if "exception" in error["type"]:
            trace = "".join(error["extra_info"].get("traceback", []))
            return ("fault", error["details"] + trace) if "dreambooth" in trace else ("host", "")
    return "refused", "; ".join(error["details"] for error in errors)


def judge_error(details: Json) -> tuple[str, str]:
    """While it runs: an error of ours must be one that says what to do."""
    message = details["exception_message"]
    ours = details["node_type"].startswith("DreamBooth")
    if ours and details["exception_type"].rpartition(".")[2] not in OUR_ERRORS:
        trace = "".join(details["traceback"])[-1500:]
        return "fault", f"{details['exception_type']}: {message[:300]}\n{trace}"
    if "This is a bug" in message:
        return "fault", message[:2000]
    return "error" if ours else "other node's error", message


def outside(base: Path) -> set[str]:
    """Everything but where ComfyUI and our nodes may write."""
    found = {path for path in base.parent.rglob("*") if not path.is_relative_to(base / "output")}
    others = ("temp", "user", "models/loras")
    return {
        str(path) for path in found if not any(path.is_relative_to(base / name) for name in others)
    }


def fuzz(folder: Path, options: argparse.Namespace) -> Json:
    base = folder / "in" / "comfy"
    server = ComfyServer(PACK, base, env={"DREAMBOOTH_PYTHON": sys.executable})
    save_checkpoint(base / "models/checkpoints" / CHECKPOINT, "sd1", "host")
    photos(base / "input")
    began = time.monotonic()
    with server:
        state = Fuzz(server, random.Random(options.seed))
        state.step()
        before = outside(base)
        while time.monotonic() - began < options.minutes * 60:
            state.step()
        written = sorted(outside(base) - before)
        loras = sorted(path.name for path in (base / "models/loras").iterdir())
        log = server.log_text()
    return {
        "command": f"python -m benchmarks.faults.fuzz_routes --minutes {options.minutes:g} "
        f"--seed {options.seed}",
        "seed": options.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "workflows": state.outcomes.total(),
        "outcomes": dict(sorted(state.outcomes.items())),
        "inputs_refused_with_a_message": len(state.messages),
        "slowest_answer_sec": round(state.slowest_answer_sec, 2),
        "slowest_end_after_cancel_sec": round(state.slowest_end_sec, 1),
        "server_errors": log.count("Error handling request"),
        "dead_threads": log.count("Exception in thread"),
        "written_outside": written,
        "loras": len(loras),
        "faults": state.faults,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = fuzz(Path(folder), options)
    text = json.dumps(result, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", "utf-8")
    bad = ("faults", "server_errors", "dead_threads", "written_outside")
    return 1 if any(result[name] for name in bad) else 0


if __name__ == "__main__":
    sys.exit(main())
