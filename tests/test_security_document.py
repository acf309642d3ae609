"""docs/security.md: each statement names the tests that hold it, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

PACK = Path(__file__).parents[1]
TEXT = (PACK / "docs" / "security.md").read_text("utf-8")


def test_every_test_that_the_document_names_exists() -> None:
    sources = [path.read_text("utf-8") for path in (PACK / "tests").rglob("test_*.py")]
    known = {name for text in sources for name in re.findall(r"^def (test_\w+)", text, re.M)}
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 40
    assert named <= known, f"not in tests/: {sorted(named - known)}"


def test_every_statement_names_a_test() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", TEXT, re.M)
    held = dict(row for row in rows if row != ("statement", "test"))
    assert len(held) > 25
    assert [statement for statement, tests in held.items() if "`test_" not in tests] == []
