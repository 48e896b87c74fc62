"""SQL by type: what `make lint` must catch, what it must let pass, and where a text may become SQL all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.sql_types import FOLDERS, check, main

ROOT = Path(__file__).resolve().parents[3]
HEAD = """
from typing import Any, Literal
from elsewhere import S as UNKNOWN
from psycopg2 import extras, sql
from psycopg2.extensions import cursor as C
from psycopg2.extras import DictCursor, execute_values
from psycopg2.sql import SQL
from typing_extensions import LiteralString
D = {"a": "b"}
S = "SELECT 1"
class Request: table: str
def text(t: str) -> str: return "DROP TABLE " + t
def either() -> str | sql.SQL: return "x"
def drop(t: str) -> sql.Composed: return sql.SQL("DROP TABLE {}").format(sql.Identifier(t))
"""

CAUGHT = {
    "an f-string": 'def f(c: C, t: str): c.execute(f"DROP TABLE {t}")',
    "percent": 'def f(c: C, t: str): c.execute("DROP TABLE %s" % t)',
    "plus": 'def f(c: C, t: str): c.execute("DROP TABLE " + t)',
    "format of a text": 'def f(c: C, t: str): c.execute("DROP TABLE {}".format(t))',
    "join of a text": 'def f(c: C, t: str): c.execute(" ".join(["DROP TABLE", t]))',
    "replace": 'def f(c: C, t: str): c.execute("DROP TABLE x".replace("x", t))',
    "a parameter": "def f(c: C, t: str): c.execute(t)",
    "a parameter as a keyword": "def f(c: C, t: str): c.execute(query=t)",
    "a parameter of any type": "def f(c: C, t: Any): c.execute(t)",
    "an f-string of any type": 'def f(c: C, t: Any): c.execute(f"DROP TABLE {t}")',
    "percent of any type": 'def f(c: C, t: Any): c.execute("DROP TABLE %s" % (t,))',
    "join of any type": 'def f(c: C, t: Any): c.execute(" ".join(["DROP TABLE", t]))',
    "join of what the database answers": 'def f(c: C): c.execute(", ".join(row[0] for row in c))',
    "one of two of any type": 'def f(c: C, t: Any): c.execute("SELECT 1" if c.closed else t)',
    "a parameter of no type": "def f(c: C, t): c.execute(t)",
    "a parameter of either kind": "def f(c: C, t: str | sql.SQL): c.execute(t)",
    "bytes": "def f(c: C, t: str): c.execute(t.encode())",
    "an attribute": "def f(c: C, request: Request): c.execute(request.table)",
    "an attribute of any type": "def f(c: C, request: Any): c.execute(request.table)",
    "an item": "def f(c: C, names: list[str]): c.execute(names[0])",
    "what the database answers": "def f(c: C): c.execute(c.fetchall()[0][0])",
    "what a function returns": "def f(c: C, t: str): c.execute(text(t))",
    "what a function of two kinds returns": "def f(c: C): c.execute(either())",
    "a name that is bound twice": 'def f(c: C, t: str):\n    s = "SELECT 1"\n    if t: s = t\n    c.execute(s)',
    "a name that grows": 'def f(c: C, t: str):\n    s = "SELECT 1"\n    s += t\n    c.execute(s)',
    "a name of a loop": "def f(c: C, names: list[str]):\n    for s in names: c.execute(s)",
    "a name that hides a constant": "def f(c: C, S: str): c.execute(S)",
    "a name that is imported": "def f(c: C): c.execute(UNKNOWN)",
    "one of two": 'def f(c: C, t: str): c.execute("SELECT 1" if c.closed else t)',
    "SQL of a parameter": "def f(c: C, t: str): c.execute(sql.SQL(t))",
    "SQL of an f-string": 'def f(c: C, t: str): c.execute(sql.SQL(f"DROP TABLE {t}"))',
    "SQL of a sum": 'def f(c: C, t: str): c.execute(sql.SQL("DROP TABLE " + t))',
    "SQL that is not sent": "def f(t: str): return sql.SQL(t).format(sql.Literal(1))",
    "SQL by its own name": "def f(t: str): return SQL(t)",
    "SQL as a keyword": "def f(t: str): return sql.SQL(string=t)",
    "SQL of any type": "def f(t: Any): return sql.SQL(t)",
    "SQL of what the database answers": "def f(c: C): return [sql.SQL(row[0]) for row in c.fetchall()]",
    "SQL of a dictionary that is changed": "def f(k: str, t: str):\n    D[k] = t\n    return sql.SQL(D[k])",
    "SQL of a dictionary with a variable": 'def f(k: str, t: str):\n    d = {"a": t}\n    return sql.SQL(d[k])',
    "SQL that many share": "def f(names: list[str]): return list(map(sql.SQL, names))",
    "copy_expert": 'def f(c: C, t: str, file: Any): c.copy_expert(f"COPY {t} FROM STDIN", file)',
    "copy_from": "def f(c: C, t: str, file: Any): c.copy_from(file, t)",
    "executemany": "def f(c: C, t: str, rows: Any): c.executemany(t, rows)",
    "mogrify": "def f(c: C, t: str): c.mogrify(t)",
    "callproc": "def f(c: C, t: str): c.callproc(t)",
    "execute_values": "def f(c: C, t: str): execute_values(c, t, [])",
    "execute_values of a module": "def f(c: C, t: str): extras.execute_values(c, t, [])",
    "another cursor": "def f(c: DictCursor, t: str): c.execute(t)",
    "a cursor of any type": "def f(c: Any, t: str): c.execute(t)",
    "a cursor of no type": "def f(c, t: str): c.execute(t)",
    "keywords": "def f(c: C, **keywords: Any): c.execute(**keywords)",
    "a starred statement": "def f(c: C, arguments: list[str]): c.execute(*arguments)",
    "a method that is taken along": "def f(c: C, t: str):\n    run = c.execute\n    run(t)",
    "a cursor's method that changes the statement": (
        "class F(C):\n    def execute(self, query: str, vars: Any = None) -> None:\n"
        '        super().execute("EXPLAIN " + query)'
    ),
    "a method of another name": "class F(C):\n    def run(self, query: str) -> None: super().execute(query)",
    "an error that mypy overlooks": "def f(c: C, t: str): c.execute(t)  # type: ignore",
}

FINE = {
    "a literal": 'def f(c: C): c.execute("SELECT %s", (1,))',
    "a literal in two parts": 'def f(c: C): c.execute("SELECT " "1")',
    "a literal or another": 'def f(c: C, t: str): c.execute("SELECT 1" if t else "SELECT 2")',
    "a constant": "def f(c: C): c.execute(S)",
    "a name": ('def f(c: C, t: str):\n    s = sql.SQL("DROP TABLE {}")\n    c.execute(s.format(sql.Identifier(t)))'),
    "a function": "def f(c: C, t: str): c.execute(drop(t))",
    "a parameter of SQL": "def f(c: C, s: sql.Composable): c.execute(s)",
    "a parameter that is a literal": "def f(c: C, s: LiteralString): c.execute(s)",
    "join": 'def f(c: C, t: list[sql.Composable]): c.execute(sql.SQL("; ").join(t))',
    "a sum": 'def f(c: C, t: str): c.execute(sql.SQL("SELECT ") + sql.SQL("{}").format(sql.Literal(t)))',
    "SQL of a literal or another": 'def f(t: str): return sql.SQL("bigint" if t else "interval")',
    "SQL of a Literal": 'def f(t: Literal["A", "B"]): return sql.SQL(t)',
    "SQL of a constant": "def f(): return sql.SQL(S)",
    "a dictionary of SQL": ('E: dict[str, sql.SQL] = {"a": sql.SQL("b")}\ndef f(c: C, k: str): c.execute(E[k])'),
    "another name's method": "def f(pool: Any, work: Any): pool.submit(work)",
}


def test_what_is_caught_and_what_passes(tmp_path: Path) -> None:
    """One file, since the checker takes seconds to start."""
    text, names = HEAD, [""] * HEAD.count("\n")
    for name, sample in (CAUGHT | FINE).items():
        text += f"{sample}\n"
        names += [name] * (sample.count("\n") + 1)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "sample.py").write_text(text)
    lines = [int(fault.split(":")[1]) for fault in check(tmp_path)]
    assert {names[line - 1] for line in lines} == CAUGHT.keys()


def test_a_project_that_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "bad.py").write_text("from psycopg2 import sql\ndef f(t: str): return sql.SQL(t)\n")
    assert main(tmp_path) == 1
    assert "bad.py:2: " in capsys.readouterr().out


def test_only_what_postgresql_writes_is_trusted() -> None:
    """The type of a staged column, the definitions of indexes and constraints, how a foreign key compares columns."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}

    def found(part: str) -> dict[str, int]:
        return {name: text.count(part) for name, text in texts.items() if part in text}

    assert found(" trusted_sql(") == {
        "shared/postgres/trusted_sql.py": 1,
        "shared/timescale/indexes/definition.py": 2,
        "shared/timescale/references.py": 4,
        "shared/load/copy/staging.py": 1,
        "shared/load/trial/double.py": 1,
        "shared/load/trial/trial.py": 1,
    }
    assert found("pyright: ignore") == {"shared/postgres/trusted_sql.py": 1}
