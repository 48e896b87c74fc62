"""The lint rule for SQL: what it must catch, what it must let pass, and that this project passes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tools.lint_sql import FOLDERS, MARK, lint, main

ROOT = Path(__file__).resolve().parents[3]
HEAD = "from typing import Literal\nfrom psycopg2 import sql\n"
SAMPLE = Path("sample.py")

CAUGHT = {
    "an f-string": 'def f(c, t): c.execute(f"DROP TABLE {t}")',
    "an f-string without a field": 'def f(c): c.execute(f"SELECT 1")',
    "percent": 'def f(c, t): c.execute("DROP TABLE %s" % t)',
    "plus": 'def f(c, t): c.execute("DROP TABLE " + t)',
    "format of a text": 'def f(c, t): c.execute("DROP TABLE {}".format(t))',
    "join of a text": 'def f(c, t): c.execute(" ".join(["DROP TABLE", t]))',
    "a parameter": "def f(c, t): c.execute(t)",
    "a parameter that is said to be text": "def f(c, t: str): c.execute(t)",
    "a parameter of either kind": "def f(c, t: str | sql.SQL): c.execute(t)",
    "an attribute": "def f(c, request): c.execute(request.table)",
    "an item": "def f(c, names): c.execute(names[0])",
    "what a function returns": 'def g(t): return "DROP TABLE " + t\ndef f(c, t): c.execute(g(t))',
    "what a function returns that is said to be text": 'def g() -> str: return "x"\ndef f(c): c.execute(g())',
    "a function of two kinds": (
        'def g() -> sql.SQL: return sql.SQL("x")\n'
        'class A:\n    def g(self) -> str: return "x"\n'
        "def f(c, a): c.execute(a.g())"
    ),
    "a name that is bound twice": 'def f(c, t):\n    s = "SELECT 1"\n    if t: s = t\n    c.execute(s)',
    "a name that grows": 'def f(c, t):\n    s = "SELECT 1"\n    s += t\n    c.execute(s)',
    "a name of a loop": "def f(c, names):\n    for s in names:\n        c.execute(s)",
    "a name that hides a constant": 'S = "SELECT 1"\ndef f(c, S): c.execute(S)',
    "a name that nobody binds": "def f(c): c.execute(S)",
    "a name that is imported": "from elsewhere import S\ndef f(c): c.execute(S)",
    "one of two": 'def f(c, t): c.execute("SELECT 1" if t else t)',
    "SQL of a parameter": "def f(c, t): c.execute(sql.SQL(t))",
    "SQL of an f-string": 'def f(c, t): c.execute(sql.SQL(f"DROP TABLE {t}"))',
    "SQL of a sum": 'def f(c, t): c.execute(sql.SQL("DROP TABLE " + t))',
    "SQL that is not sent": "def f(t): return sql.SQL(t).format(sql.Literal(1))",
    "SQL by its own name": "from psycopg2.sql import SQL\ndef f(t): return SQL(t)",
    "SQL of nothing": "def f(): return sql.SQL()",
    "SQL as a keyword": "def f(t): return sql.SQL(string=t)",
    "SQL of an annotation that is no Literal": "def f(t: str): return sql.SQL(t)",
    "SQL of a dictionary that is changed": 'D = {"a": "b"}\ndef f(k, t):\n    D[k] = t\n    return sql.SQL(D[k])',
    "SQL of a dictionary that is updated": 'D = {"a": "b"}\ndef f(k, t):\n    D.update(k=t)\n    return sql.SQL(D[k])',
    "SQL of a dictionary with a variable": 'def f(k, t):\n    d = {"a": t}\n    return sql.SQL(d[k])',
    "SQL plus a text": 'def f(c, t): c.execute(sql.SQL("SELECT 1") + t)',
    "copy_expert": 'def f(c, t, file): c.copy_expert(f"COPY {t} FROM STDIN", file)',
    "executemany": "def f(c, t, rows): c.executemany(t, rows)",
    "callproc": "def f(c, t): c.callproc(t)",
    "execute_values": "from psycopg2.extras import execute_values\ndef f(c, t): execute_values(c, t, [])",
    "execute_values of a module": "from psycopg2 import extras\ndef f(c, t): extras.execute_values(c, t, [])",
    "no statement to be seen": "def f(c, **keywords): c.execute(**keywords)",
    "a starred statement": "def f(c, arguments): c.execute(*arguments)",
    "a method that is taken along": "def f(c, t):\n    run = c.execute\n    run(t)",
    "AsIs": 'from psycopg2.extensions import AsIs\ndef f(c, t): c.execute("SELECT %s", (AsIs(t),))',
    "copy_from": "def f(c, t, file): c.copy_from(file, t)",
    "a cursor's method that changes the statement": (
        'class C:\n    def execute(self, query):\n        super().execute("EXPLAIN " + query)'
    ),
    "a method of another name": "class C:\n    def run(self, query):\n        super().execute(query)",
}

FINE = {
    "a literal": 'def f(c): c.execute("SELECT %s", (1,))',
    "a literal in two parts": 'def f(c): c.execute("SELECT "\n    "1")',
    "a literal or another": 'def f(c, t): c.execute("SELECT 1" if t else "SELECT 2")',
    "a constant": 'S = "SELECT 1"\ndef f(c): c.execute(S)',
    "a name": 'def f(c, t):\n    s = sql.SQL("DROP TABLE {}")\n    c.execute(s.format(sql.Identifier(t)))',
    "a name that grows by psycopg2.sql": (
        'def f(c, t):\n    s = sql.SQL("DROP TABLE {}")\n    s = s.format(sql.Identifier(t))\n    c.execute(s)'
    ),
    "a function": 'def g(t) -> sql.Composed: return sql.SQL("{}").format(t)\ndef f(c, t): c.execute(g(t))',
    "a parameter that mypy looks after": "def f(c, s: sql.Composable): c.execute(s)",
    "join": 'def f(c, t): c.execute(sql.SQL("; ").join(t))',
    "a sum of both kinds": 'def f(c, t): c.execute(sql.SQL("SELECT ") + sql.SQL("{}").format(t))',
    "SQL of a literal or another": 'def f(t): return sql.SQL("bigint" if t else "interval")',
    "SQL of a Literal": 'def f(t: Literal["A", "B"]): return sql.SQL(t)',
    "SQL of a constant": 'S = "SELECT 1"\ndef f(): return sql.SQL(S)',
    "SQL of a dictionary": 'D = {"a": "b"}\ndef f(k): return sql.SQL(D[k])',
    "a dictionary of SQL": 'D: dict[str, sql.SQL] = {"a": sql.SQL("b")}\ndef f(c, k): c.execute(D[k])',
    "a cursor's own method": "class C:\n    def execute(self, query, vars=None):\n        super().execute(query, vars)",
    "another name's method": "def f(pool, work): pool.submit(work)",
    "what is marked": f"def f(t):\n    return sql.SQL(t)  {MARK}a reason",
}


def found(sample: str) -> list[str]:
    return [fault.message for fault in lint({SAMPLE: HEAD + textwrap.dedent(sample) + "\n"})]


@pytest.mark.parametrize("sample", CAUGHT.values(), ids=CAUGHT)
def test_what_is_caught(sample: str) -> None:
    assert len(found(sample)) == 1


@pytest.mark.parametrize("sample", FINE.values(), ids=FINE)
def test_what_passes(sample: str) -> None:
    assert found(sample) == []


def test_a_fault_names_its_place() -> None:
    (fault,) = lint({SAMPLE: "def f(c, t):\n    c.execute(t)\n"})
    assert str(fault) == "sample.py:2: the statement of execute is neither a literal nor built by psycopg2.sql"


def test_functions_are_known_across_files() -> None:
    texts = {
        Path("a.py"): HEAD + "def drop(t) -> sql.Composed: return sql.SQL('DROP TABLE {}').format(t)\n",
        Path("b.py"): "from a import drop\ndef f(c, t): c.execute(drop(t))\n",
    }
    assert lint(texts) == []
    assert len(lint({Path("b.py"): texts[Path("b.py")]})) == 1


def test_this_project_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ROOT) == 0, capsys.readouterr().out
    sources = [path.read_text() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert sum(text.count("execute(") for text in sources) > 50


def test_only_what_postgresql_writes_is_left_out() -> None:
    """The type of a staged column, the definition of an index and that of a constraint, each in one line."""
    marked = [(path.name, path.read_text().count(f"  {MARK}")) for path in (ROOT / "shared").rglob("*.py")]
    assert sorted((name, count) for name, count in marked if count) == [("copy_sql.py", 1), ("index_sql.py", 2)]


def test_a_project_that_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "bad.py").write_text("def f(c, t): c.execute(t)\n")
    assert main(tmp_path) == 1
    assert "bad.py:1: " in capsys.readouterr().out
