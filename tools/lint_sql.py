"""`make lint`: SQL is constant text. A statement is a literal, or composed of literals by psycopg2.sql.

A statement that is sent must be a string literal, or built by `sql.SQL(...)`, `.format(...)` and `.join(...)`; a name
that is bound to nothing else; or the result of a function that is annotated to return such. `sql.SQL(...)` itself takes
literals, and names of which each possible value is one. mypy checks the annotations.

The comment `# lint-sql: <reason>` exempts a line.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("RestoreChunk", "shared", "tools", "benchmarks")
MARK = "# lint-sql: "

# Which argument of a method, and of a function of psycopg2.extras, is the statement.
_SENDS = {"execute": 0, "executemany": 0, "copy_expert": 0, "mogrify": 0, "callproc": 0}
_SENDS_FOR = {"execute_values": 1, "execute_batch": 1}
_FORBIDDEN = {"AsIs": "makes SQL of any text", "copy_from": "does not quote", "copy_to": "does not quote"}
_COMPOSED = {"SQL", "Composed", "Composable", "Identifier"}

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Fault:
    """A place where text from outside the program could become SQL."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        """Return it in the form of compiler messages."""
        return f"{self.path}:{self.line}: {self.message}"


def lint(sources: dict[Path, str]) -> list[Fault]:
    """Check source files that call each other.

    Args:
        sources: the text of each file.
    """
    trees = {path: ast.parse(text) for path, text in sources.items()}
    composing = _composing_functions(list(trees.values()))
    faults = [fault for path, tree in trees.items() for fault in _File(path, tree, composing).faults()]
    return [fault for fault in faults if MARK not in sources[fault.path].splitlines()[fault.line - 1]]


def _composing_functions(trees: Sequence[ast.Module]) -> set[str]:
    """Name the functions and methods that return SQL wherever one of that name is defined."""
    found: dict[str, bool] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[node.name] = found.get(node.name, True) and _is_composed_type(node.returns)
    return {name for name, is_composing in found.items() if is_composing}


def _is_composed_type(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.BinOp):
        return _is_composed_type(annotation.left) and _is_composed_type(annotation.right)
    return isinstance(annotation, ast.Attribute) and _dotted(annotation) in {f"sql.{name}" for name in _COMPOSED}


def _is_literal_type(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Subscript) and _dotted(annotation.value).rpartition(".")[2] == "Literal"


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


class _File:
    def __init__(self, path: Path, tree: ast.Module, composing: set[str]) -> None:
        self._path = path
        self._tree = tree
        self._composing = composing
        self._parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._asked: set[tuple[ast.AST, str]] = set()

    def faults(self) -> Iterator[Fault]:
        for node in ast.walk(self._tree):
            if isinstance(node, (ast.Name, ast.Attribute)):
                message = self._judge_name(node)
            elif isinstance(node, ast.Call):
                message = self._judge_call(node)
            else:
                continue
            if message is not None:
                yield Fault(self._path, node.lineno, message)

    def _judge_name(self, node: ast.Name | ast.Attribute) -> str | None:
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        if name in _FORBIDDEN:
            return f"{name} {_FORBIDDEN[name]}"
        parent = self._parents[node]
        is_called = isinstance(parent, ast.Call) and parent.func is node
        if isinstance(node, ast.Attribute) and name in _SENDS and not is_called:
            return f".{name} is to be called where it stands, so that the statement can be seen"
        return None

    def _judge_call(self, call: ast.Call) -> str | None:
        name = _dotted(call.func).rpartition(".")[2] if not isinstance(call.func, ast.Attribute) else call.func.attr
        if name == "SQL":
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            is_fine = len(arguments) == 1 and self._is_literal(arguments[0])
            return None if is_fine else "sql.SQL takes a literal, or a name whose values are literals"
        place = _SENDS.get(name) if isinstance(call.func, ast.Attribute) else None
        place = _SENDS_FOR.get(name, place)
        if place is None or self._passes_on(call, name):
            return None
        if len(call.args) <= place or any(isinstance(argument, ast.Starred) for argument in call.args[: place + 1]):
            return f"the statement of {name} is to be its argument number {place + 1}"
        is_fine = self._is_literal(call.args[place]) or self._is_composed(call.args[place])
        return None if is_fine else f"the statement of {name} is neither a literal nor built by psycopg2.sql"

    def _passes_on(self, call: ast.Call, name: str) -> bool:
        """Whether a cursor's own method of that name hands its statement to the class above."""
        function = next(self._scopes(call))
        if not isinstance(function, ast.FunctionDef) or function.name != name or not call.args:
            return False
        is_super = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "super()"
        return is_super and ast.unparse(call.args[0]) in [argument.arg for argument in function.args.args[1:2]]

    def _is_literal(self, node: ast.expr) -> bool:
        """Whether the text is a literal of the program."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str)
        return self._is_each(node, self._is_literal, _is_literal_type)

    def _is_composed(self, node: ast.expr) -> bool:
        """Whether it was put together by psycopg2.sql."""
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.Add) and self._is_composed(node.left) and self._is_composed(node.right)
        if not isinstance(node, ast.Call):
            return self._is_each(node, self._is_composed, _is_composed_type)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else _dotted(node.func)
        if name in {"format", "join"} and isinstance(node.func, ast.Attribute):
            return self._is_composed(node.func.value)
        return name == "SQL" or name in self._composing

    def _is_each(
        self, node: ast.expr, check: Callable[[ast.expr], bool], is_type: Callable[[ast.expr | None], bool]
    ) -> bool:
        """Whether all that an expression can stand for passes."""
        if isinstance(node, ast.IfExp):
            return check(node.body) and check(node.orelse)
        if isinstance(node, ast.Name):
            return self._is_bound(node, check, is_type)
        return isinstance(node, ast.Subscript) and self._is_one_of(node.value, check)

    def _is_one_of(self, node: ast.expr, check: Callable[[ast.expr], bool]) -> bool:
        """Whether it is a dictionary of the program's own, is not changed, and holds nothing else."""
        if not isinstance(node, ast.Name) or self._is_changed(node.id):
            return False
        return self._is_bound(node, lambda value: isinstance(value, ast.Dict) and all(map(check, value.values)), None)

    def _is_changed(self, name: str) -> bool:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Attribute) and _dotted(node.value) == name:
                if node.attr not in {"get", "items", "keys", "values"}:
                    return True
            elif isinstance(node, ast.Subscript) and _dotted(node.value) == name and isinstance(node.ctx, ast.Store):
                return True
        return False

    def _is_bound(
        self,
        name: ast.Name,
        check: Callable[[ast.expr], bool],
        is_type: Callable[[ast.expr | None], bool] | None,
    ) -> bool:
        """Whether everything that a name is bound to passes, in the innermost function that binds it."""
        for scope in self._scopes(name):
            values = list(self._bindings(scope, name.id))
            if not values:
                continue
            if (scope, name.id) in self._asked:
                # `x = x.format(...)`: what it was bound to before decides.
                return True
            self._asked.add((scope, name.id))
            is_fine = all(
                (is_type is not None and is_type(value.annotation))
                if isinstance(value, ast.arg)
                else value is not None and check(value)
                for value in values
            )
            self._asked.discard((scope, name.id))
            return is_fine
        return False

    def _scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """The functions around a node, the innermost first, and the module."""
        while node is not self._tree:
            node = self._parents[node]
            if isinstance(node, (*_FUNCTIONS, ast.Module)):
                yield node

    def _bindings(self, scope: ast.AST, name: str) -> Iterator[ast.arg | ast.expr | None]:
        """The values that a name is bound to in a scope; None for one that cannot be followed."""
        if isinstance(scope, _FUNCTIONS):
            known = scope.args
            arguments = [*known.posonlyargs, *known.args, *known.kwonlyargs, known.vararg, known.kwarg]
            yield from (argument for argument in arguments if argument is not None and argument.arg == name)
        for node in self._own_nodes(scope):
            if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
                parent = self._parents[node]
                yield parent.value if isinstance(parent, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) else None
            elif name in _names_bound_by(node):
                yield None

    def _own_nodes(self, scope: ast.AST) -> Iterator[ast.AST]:
        """The nodes of a scope itself, without those of functions and classes inside it."""
        waiting = list(ast.iter_child_nodes(scope))
        while waiting:
            node = waiting.pop()
            yield node
            if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                waiting += ast.iter_child_nodes(node)


def _names_bound_by(node: ast.AST) -> list[str | None]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.alias):
        return [node.asname or node.name]
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        return list(node.names)
    return [node.name] if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) else []


def main(root: Path = Path()) -> int:
    """Check the project's own sources, and print what is wrong with them."""
    paths = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    faults = lint({path: path.read_text(encoding="utf-8") for path in paths})
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
