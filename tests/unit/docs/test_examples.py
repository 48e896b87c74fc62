"""The samples in examples/: well-formed, and each request in them is one that docs/openapi.json allows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from tests.fix_contract import DOCUMENT, OPERATION, request_faults
from tools.config import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
FILES = sorted(path.name for path in EXAMPLES.iterdir())
VALUES = {"day": "2025-01-01", "table": "silver.telemetry", "folder": "backups/weavix"}
RESTORE_SH = EXAMPLES / "restore.sh"


def sample(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))


def filled_in(body: Any) -> Any:
    """Put values in the place of expressions, as Data Factory and Logic Apps do."""

    def value(expression: re.Match[str]) -> str:
        (name,) = re.findall("|".join(VALUES), expression[0])
        return VALUES[name]

    return json.loads(re.sub(r"@\{[^}]*\}", value, json.dumps(body)))


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)


def test_each_file_is_described() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[([^\]]+)\]\(\1\) \|", text, re.MULTILINE)) == set(FILES) - {"README.md"}


def test_they_are_not_deployed() -> None:
    assert "/examples/" in (REPOSITORY / ".funcignore").read_text().splitlines()


class TestDataFactory:
    pipeline = sample("data-factory-pipeline.json")["properties"]

    def activities(self) -> dict[str, dict[str, Any]]:
        return {part["name"]: part for part in walk(self.pipeline) if "typeProperties" in part}

    def test_the_request(self) -> None:
        call = self.activities()["Restore one day"]
        assert not request_faults(filled_in(call["typeProperties"]["body"]))
        assert (
            filled_in(call["typeProperties"]["body"])["adls_url"] == "backups/weavix/silver.telemetry.2025-01-01.csv.gz"
        )
        assert call["typeProperties"]["headers"]["Content-Type"] in OPERATION["requestBody"]["content"]

    def test_it_is_sent_once_waits_long_enough_and_shows_no_key(self) -> None:
        key, call = self.activities()["Function key"], self.activities()["Restore one day"]
        assert (call["policy"]["retry"], call["policy"]["timeout"]) == (0, "0.00:10:00")
        assert call["typeProperties"]["httpRequestTimeout"] == "00:10:00"
        assert key["policy"]["secureOutput"]
        assert call["policy"]["secureInput"]
        assert key["typeProperties"]["authentication"] == {"type": "MSI", "resource": "https://vault.azure.net"}

    def test_every_name_that_it_uses_is_there(self) -> None:
        text = json.dumps(self.pipeline)
        assert set(re.findall(r"parameters\.(\w+)", text)) == set(self.pipeline["parameters"])
        named = set(re.findall(r"activity\('([^']+)'\)", text))
        named |= {depends["activity"] for part in walk(self.pipeline) for depends in part.get("dependsOn", [])}
        assert named <= set(self.activities())

    def test_any_status_but_ok_fails_it(self) -> None:
        check = self.activities()["All is well"]["typeProperties"]
        assert check["expression"]["value"] == "@equals(activity('Restore one day').output.status, 'ok')"
        assert [part["type"] for part in check["ifFalseActivities"]] == ["Fail"]


class TestDataFactoryAsync(TestDataFactory):
    pipeline = sample("data-factory-pipeline-async.json")["properties"]

    def test_it_is_sent_once_waits_long_enough_and_shows_no_key(self) -> None:
        """It may be sent again: under one id it is one restore."""
        call = self.activities()["Restore one day"]
        assert call["typeProperties"]["body"]["async"] is True
        assert call["typeProperties"]["turnOffAsync"] is False
        assert call["typeProperties"]["headers"]["Operation-Id"]["value"] == "@pipeline().RunId"
        assert call["policy"]["timeout"] == "0.12:00:00"
        assert call["policy"]["secureInput"]


class TestLogicApp:
    template = sample("logic-app.json")
    properties = template["resources"][0]["properties"]
    definition = properties["definition"]
    call = definition["actions"]["Restore_one_day"]

    def test_the_request(self) -> None:
        assert not request_faults(filled_in(self.call["inputs"]["body"]))

    def test_it_is_sent_once_and_shows_no_key(self) -> None:
        assert self.call["inputs"]["retryPolicy"] == {"type": "none"}
        assert self.call["runtimeConfiguration"] == {"secureData": {"properties": ["inputs"]}}
        assert self.template["parameters"]["functionKey"] == {"type": "securestring"}
        assert self.definition["parameters"]["functionKey"] == {"type": "SecureString"}

    def test_every_name_that_it_uses_is_there(self) -> None:
        for text, there in (
            (json.dumps(self.definition), self.definition["parameters"]),
            (json.dumps(self.properties["parameters"]), self.properties["parameters"]),
        ):
            assert set(re.findall(r"parameters\('(\w+)'\)", text)) == set(there)
        assert set(self.properties["parameters"]) == set(self.definition["parameters"])
        assert set(re.findall(r"\[parameters\('(\w+)'\)", json.dumps(self.template))) == set(
            self.template["parameters"]
        )
        assert set(re.findall(r"body\('(\w+)'\)", json.dumps(self.definition))) <= set(self.definition["actions"])

    def test_any_answer_but_ok_ends_it(self) -> None:
        check = self.definition["actions"]["All_is_well"]
        assert check["runAfter"] == {"Restore_one_day": ["Succeeded", "Failed", "TimedOut"]}
        assert check["expression"]["and"] == [{"equals": ["@body('Restore_one_day')?['status']", "ok"]}]
        assert [part["type"] for part in check["else"]["actions"].values()] == ["Terminate"]


class TestLogicAppAsync(TestLogicApp):
    template = sample("logic-app-async.json")
    properties = template["resources"][0]["properties"]
    definition = properties["definition"]
    call = definition["actions"]["Restore_one_day"]

    def test_it_is_sent_once_and_shows_no_key(self) -> None:
        """It may be sent again: under one id it is one restore."""
        assert self.call["inputs"]["body"]["async"] is True
        assert self.call["inputs"]["headers"]["Operation-Id"] == "@{workflow().run.name}"
        assert "DisableAsyncPattern" not in json.dumps(self.template)
        assert self.call["limit"] == {"timeout": "PT12H"}
        assert self.call["runtimeConfiguration"] == {"secureData": {"properties": ["inputs"]}}


def http_requests() -> list[Any]:
    text = (EXAMPLES / "restore.http").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^@(\w+) = (.*)$", text, re.MULTILINE)) | {"functionKey": "key", "hostKey": "host key"}
    filled = re.sub(r"\{\{(\w+)\}\}", lambda name: variables[name[1]], text)
    return [pytest.param(part, id=part.partition("\n")[0].strip()) for part in filled.split("\n###")[1:]]


def has_body(part: Any) -> bool:
    return "\nPOST " in part.values[0]


@pytest.mark.parametrize("part", [part for part in http_requests() if not has_body(part)])
def test_each_http_request_without_a_body(part: str) -> None:
    """The contract knows it, and its key opens more than one function."""
    request, *headers = part.strip().splitlines()[1:]
    method, address = request.split()
    assert headers == ["x-functions-key: host key"]
    path, _, query = address.removeprefix("https://restore-chunk.azurewebsites.net/api").partition("?")
    operation = DOCUMENT["paths"][re.sub(r"^(/restores/)[^/]+$", r"\1{id}", path)][method.lower()]
    known = {one["name"] for one in operation.get("parameters", ())}
    assert set(re.findall(r"(\w+)=", query)) <= known


@pytest.mark.parametrize("part", [part for part in http_requests() if has_body(part)])
def test_each_http_request(part: str) -> None:
    head, _, body = part.partition("\n\n")
    assert head.splitlines()[1:] == [
        "POST https://restore-chunk.azurewebsites.net/api/restore",
        "Content-Type: application/json",
        "x-functions-key: key",
    ]
    assert not request_faults(json.loads(body))


def run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_bash_script_is_clean() -> None:
    run("bash", "-n", RESTORE_SH)
    run(Path(sys.executable).with_name("shellcheck"), RESTORE_SH)


def errors_in(node: Node) -> Iterator[str]:
    if node.type == "ERROR" or node.is_missing:
        yield f"line {node.start_point.row + 1}: {(node.text or b'').decode()}"
    for child in node.children:
        yield from errors_in(child)


def test_the_powershell_script_can_be_read() -> None:
    source = (EXAMPLES / "restore.ps1").read_bytes()
    tree = Parser(Language(tree_sitter_powershell.language())).parse(source)
    assert list(errors_in(tree.root_node)) == []
    assert len(tree.root_node.children) > 1


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="PowerShell is not installed")
def test_powershell_itself_reads_the_script() -> None:
    parse = "[System.Management.Automation.Language.Parser]::ParseFile($args[0], [ref] $null, [ref] $faults)"
    command = f"$faults = $null; $null = {parse}; $faults | Out-String; exit $faults.Count"
    run("pwsh", "-NoProfile", "-CommandWithArgs", command, str(EXAMPLES / "restore.ps1"))


def test_help_is_the_scripts_own_head() -> None:
    text = run(RESTORE_SH, "--help")
    assert set(re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE)) == set(
        re.findall(r"^        (--[a-z-]+)\)", RESTORE_SH.read_text(), re.MULTILINE)
    ) - {"--help"}
