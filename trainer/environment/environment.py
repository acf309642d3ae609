"""The Python that the worker runs in: a private environment in the pack, separate from any host."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .programs import python_in
from .torch_source import TorchSource, expose_host_torch, torch_sources, uses_gpu

if TYPE_CHECKING:
    from .installer import Installer  # only `build` and `install_dev` reach pip

__all__ = [
    "PACK",
    "build",
    "check_ready",
    "doctor",
    "install_dev",
    "is_ready",
    "missing",
    "worker_command",
    "worker_env",
]

PACK = Path(__file__).absolute().parents[2]
START = Path(__file__).absolute().with_name("start.py")
ENVIRONMENT = PACK / ".venv"
MARKER = ENVIRONMENT / "dreambooth.json"  # written last: no marker, no environment
REQUIREMENTS = PACK / "requirements"
INSTALLED = ("trainer", "torch", "gpu")  # the locks that an environment is made from
LOCK = PACK / ".environment-lock"
LOG = PACK / ".environment-log.txt"
HOST_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
MALLOC_THRESHOLD = str(2**30)
CUDA_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")  # since torch 2.9, and before
# ComfyUI chooses this one for itself; under it the trainer could neither see nor give back memory.
HOSTS_ALLOCATOR = "cudaMallocAsync"


def is_ready() -> bool:
    """Whether the environment is complete and current; imports nothing."""
    if override():
        return interpreter().is_file()
    marker = read_marker()
    return (
        marker.get("requirements") == locks_hash(*INSTALLED)
        and Path(marker["python"]).exists()
        and TorchSource(**marker["torch"]).still_there()
        and interpreter().exists()
    )


def interpreter() -> Path:
    """Return the worker's Python: the environment's, or the one that DREAMBOOTH_PYTHON names."""
    return Path(override() or python_in(ENVIRONMENT))


def override() -> str:
    """Return a Python that already has all packages, to use instead; empty: none."""
    return os.environ.get("DREAMBOOTH_PYTHON", "")


def worker_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in the worker's Python, from any working folder."""
    return [*worker_python(), str(START), module, *arguments]


def worker_python() -> list[str]:
    """Return the worker's Python without a program: isolated from the folder it is started in."""
    return [str(interpreter()), "-I", "-X", "utf8"]


def worker_env() -> dict[str, str]:
    """Return the worker's environment variables: no Python paths of the host, no network."""
    inherited = {name: value for name, value in os.environ.items() if name not in HOST_VARIABLES}
    for name in CUDA_ALLOCATOR:
        if HOSTS_ALLOCATOR in inherited.get(name, ""):
            del inherited[name]
    return {
        **allocator_env(),
        **cuda_allocator_env(inherited),
        **inherited,
        "PYTHONPATH": str(PACK),
        "PYTHONSAFEPATH": "1",  # for what the worker starts; the worker itself is isolated
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "Agg",  # a notebook sets a module that only the notebook has
    }


def allocator_env() -> dict[str, str]:
    """Make glibc keep freed memory: mapping it again at each step takes a sixth of the time."""
    if sys.platform != "linux" or "LD_PRELOAD" in os.environ:
        return {}
    return {
        "MALLOC_MMAP_THRESHOLD_": MALLOC_THRESHOLD,
        "MALLOC_TRIM_THRESHOLD_": MALLOC_THRESHOLD,
    }


def cuda_allocator_env(inherited: Mapping[str, str]) -> dict[str, str]:
    """Let torch's memory on a GPU grow in place where it can: less of it is lost to gaps."""
    is_wsl = "microsoft" in platform.release().lower()
    if sys.platform != "linux" or is_wsl or any(name in inherited for name in CUDA_ALLOCATOR):
        return {}
    return dict.fromkeys(CUDA_ALLOCATOR, "expandable_segments:True")


def check_ready() -> None:
    """Refuse to continue without an environment.

    Raises:
        ConfigError: says how to install it.
    """
    if is_ready():
        return
    if override():
        raise ConfigError(f"DREAMBOOTH_PYTHON {override()!r} is not a file.", "Set it to a Python.")
    state = "is out of date" if MARKER.exists() else "is not installed"
    raise ConfigError(f"The trainer's environment {state}.", f"Run: {install_command()}")


def missing() -> str | None:
    """Return in one line what is missing and how to install it; None if the worker can run."""
    try:
        check_ready()
    except ConfigError as error:
        return str(error)
    return None


def install_command() -> str:
    parts = (sys.executable, str(PACK / "install.py"))
    return " ".join(f'"{part}"' if " " in part else part for part in parts)


def build(report: Callable[[str], None]) -> None:
    """Install the environment unless it is ready; takes minutes and needs the network.

    Args:
        report: called with one line for each thing that is being done.

    Raises:
        ConfigError: says what could not be installed; a half-built environment is never ready.
    """
    if sys.version_info < (3, 10):  # noqa: UP036 - install.py may be run by an older one
        raise ConfigError(f"This is Python {sys.version.split()[0]}.", "Use Python 3.10 or newer.")
    if override():
        return check_ready()
    if is_ready():  # also where nothing can be written
        return None
    if Path(sys.prefix) == ENVIRONMENT:
        raise ConfigError("The environment cannot install itself.", "Use the host's Python.")
    from .installer import locked

    try:
        with locked(LOCK, report):
            if not is_ready():
                rebuild(report)
    except OSError as error:
        raise ConfigError(
            f"The environment cannot be written: {error}.",
            "Stop running trainings, and check the folder's permissions and the free disk space.",
        ) from error


def rebuild(report: Callable[[str], None]) -> None:
    """Install with the best torch with which all packages can be imported."""
    from .installer import Installer

    MARKER.unlink(missing_ok=True)
    installer = Installer(ENVIRONMENT, LOG, worker_env(), report)
    for source in torch_sources(locked_torch()):
        report(f"Installing the trainer's environment in {ENVIRONMENT}, with {source}.")
        fill(installer, source)
        if uses_gpu(source):
            add_gpu_packages(installer)
        problem = installer.problem()
        if problem is None:
            write_marker(source)
            return report("The trainer's environment is ready.")
        report(f"It does not work with {source}: {problem}.")
    raise ConfigError("The installed packages do not work.", f"See the log: {LOG}.")


def fill(installer: Installer, source: TorchSource) -> None:
    """Create an empty environment; install what is locked, and torch from its source."""
    installer.create()
    installer.install_locked(lock("trainer"))
    if source.folder:
        expose_host_torch(source, installer.site_packages)
    elif source.locked:
        installer.install_locked(lock("torch"))
    else:
        installer.install_torch(source.version, source.index)


def add_gpu_packages(installer: Installer) -> None:
    """Install what a GPU can use besides; training works without it, so a failure is reported."""
    try:
        installer.install_locked(lock("gpu"))
    except ConfigError as error:
        installer.report(f"Without 8-bit optimizers, int8 and nf4: {error}")


def install_dev(report: Callable[[str], None]) -> None:
    """Install what the tests need unless it is there; the Python of an override is left alone."""
    marker, current = read_marker(), locks_hash("dev", "gpu")
    if override() or marker["dev"] == current:
        return
    from .installer import Installer

    report("Installing what the tests need.")
    installer = Installer(ENVIRONMENT, LOG, worker_env(), report)
    installer.install_locked(lock("gpu"))  # works on a CPU, too, if slowly
    installer.install_locked(lock("dev"))
    MARKER.write_text(json.dumps({**marker, "dev": current}), "utf-8")


def read_marker() -> dict[str, Any]:
    try:
        return json.loads(MARKER.read_text("utf-8"))
    except (OSError, ValueError):  # not there, or torn
        return {}


def write_marker(source: TorchSource) -> None:
    marker = {
        "requirements": locks_hash(*INSTALLED),
        "python": str(python_library()),
        "torch": asdict(source),
        "dev": "",
    }
    MARKER.write_text(json.dumps(marker), "utf-8")


def python_library() -> Path:
    """Return a path that exists as long as this Python keeps its minor version."""
    if sys.platform == "win32":
        return Path(sys.base_prefix, "python{}{}.dll".format(*sys.version_info))
    return Path(os.__file__).parent


def lock(name: str) -> Path:
    """Return the file with the exact versions and hashes of a list of requirements."""
    return REQUIREMENTS / "lock" / f"{name}.txt"


def locks_hash(*names: str) -> str:
    texts = "\0".join(lock(name).read_text("utf-8") for name in names)
    return hashlib.sha256(texts.encode()).hexdigest()


def locked_torch() -> str:
    """Return the version of torch that is locked for this system."""
    system = f"sys_platform {'==' if sys.platform == 'win32' else '!='} 'win32'"
    found = re.search(rf"^torch==(\S+) ; {system}", lock("torch").read_text("utf-8"), re.MULTILINE)
    assert found is not None, f"no torch for {system}"
    return found[1]


def doctor() -> str:
    """Return in lines for a person what this machine has and what will be used."""
    from .machine import describe_host, describe_worker

    lines = [*describe_host(PACK), f"Environment: {missing() or 'ready'}"]
    if is_ready():
        lines += describe_worker(worker_python(), worker_env())
    elif not override():
        lines.append(f"It would get {next(torch_sources(locked_torch()))}.")
    return "\n".join(lines)
