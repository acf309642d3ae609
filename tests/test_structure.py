"""The shape of the code: what a module offers is named, described, and all that others use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACK = Path(__file__).parents[1]
ROOMS = ("trainer", "nodes", "a1111")
MAX_LINES, MAX_ENTRIES = 300, 12
FILES = sorted(path for room in ROOMS for path in (PACK / room).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(PACK).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}
NAMED = {name: path for name, path in MODULES.items() if not path.stem.startswith("__")}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text("utf-8"))


def offered(name: str) -> set[str] | None:
    """A module's `__all__`; None where it has none."""
    for node in parsed(name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def imports(name: str) -> Iterator[tuple[str, ast.alias]]:
    """Yield what a module imports from within the pack, with the absolute name of its source."""
    package = name.split(".") if MODULES[name].stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((source, alias) for alias in node.names)


def taken(name: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for every name of another module that a module uses."""
    modules: dict[str, str] = {}
    for source, alias in imports(name):
        whole = f"{source}.{alias.name}"
        if whole in NAMED:
            modules[alias.asname or alias.name] = whole
        elif source in NAMED:
            yield source, alias.name
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            source = modules.get(node.value.id)
            if source is not None:
                yield source, node.attr


def needed(name: str) -> Iterator[str]:
    """Yield the modules that a module imports."""
    for source, alias in imports(name):
        whole = f"{source}.{alias.name}"
        yield whole if whole in MODULES else source


@pytest.mark.parametrize("name", NAMED)
def test_a_module_says_what_others_may_use(name):
    names = offered(name)
    assert names is not None, "no __all__"
    assert names == {item for item in names if item in module_names(name)}


def module_names(name: str) -> set[str]:
    """The names that a module defines at its top level."""
    found: set[str] = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, Definition):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found | {alias.asname or alias.name for _, alias in imports(name)}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_uses_no_private_names_of_another(name):
    private = [
        f"{source}.{used}" for source, used in taken(name) if used not in (offered(source) or set())
    ]
    assert not private


@pytest.mark.parametrize("name", MODULES)
def test_all_that_is_offered_is_described(name):
    assert ast.get_docstring(parsed(name))
    bare: list[str] = []
    for node in parsed(name).body:
        if isinstance(node, Definition) and node.name in (offered(name) or set()):
            members = node.body if isinstance(node, ast.ClassDef) else []
            methods = [m for m in members if isinstance(m, Definition) and m.name[0] != "_"]
            bare += [part.name for part in (node, *methods) if not ast.get_docstring(part)]
    assert not bare


def test_no_modules_import_each_other_in_a_circle():
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in needed(name):
            if other in MODULES and not name.startswith(f"{other}."):
                visit(other)
        done.add(path.pop())

    for name in MODULES:
        visit(name)


def test_no_file_is_longer_than_300_lines():
    sizes = {str(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {path: size for path, size in sizes.items() if size > MAX_LINES} == {}


def test_a_script_runs_every_kind_of_test_that_may_be_left_out():
    project = (PACK / "pyproject.toml").read_text("utf-8")
    kinds = re.findall(r'^    "(\w+): ', project.partition("markers = [")[2], re.MULTILINE)
    assert {"slow", "comfy", "gpu"} <= set(kinds)
    script = (PACK / ".ci" / "slow").read_text("utf-8")
    assert [kind for kind in kinds if not re.search(rf"\b{kind}\b", script)] == ["gpu"]
    told = (PACK / "CONTRIBUTING.md").read_text("utf-8")
    assert "`.ci/run`" in told and "`.ci/slow`" in told


@pytest.mark.parametrize("folder", ["trainer", "trainer/worker"])
def test_a_folder_can_be_taken_in_at_a_glance(folder):
    names = [
        path.name for path in (PACK / folder).iterdir() if not path.name.startswith(("_", "."))
    ]
    assert len(names) <= MAX_ENTRIES
