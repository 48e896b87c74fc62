from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.names import QualifiedName, parse_qualified_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("t", QualifiedName(None, "t")),
        ("s.t", QualifiedName("s", "t")),
        ("Silver.My Table", QualifiedName("Silver", "My Table")),
        ("s.a.b", QualifiedName("s", "a.b")),
        ('"a.s"."b.t"', QualifiedName("a.s", "b.t")),
        ('"say ""hi"""', QualifiedName(None, 'say "hi"')),
        ('s."b.t"', QualifiedName("s", "b.t")),
        ('Odd "name"', QualifiedName(None, 'Odd "name"')),
    ],
)
def test_forms(text: str, expected: QualifiedName) -> None:
    assert parse_qualified_name(text) == expected


@pytest.mark.parametrize(
    "text", ["", ".", ".t", "s.", '"open', 's."open', '"a"b', 's."a"b', "x" * 64, "ä" * 32, "s." + "x" * 64]
)
def test_what_is_not_a_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|at most"):
        parse_qualified_name(text)


parts = st.text(min_size=1, max_size=15)


@given(parts, parts)
def test_quoted_names_come_back(schema: str, name: str) -> None:
    doubled = ('"' + part.replace('"', '""') + '"' for part in (schema, name))
    assert parse_qualified_name(".".join(doubled)) == QualifiedName(schema, name)
