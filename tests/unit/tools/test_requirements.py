"""The lock files: the ranges of requirements.txt, each package with one version and the hashes of its files."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
PAIRS = {"requirements.txt": "requirements.lock", "requirements-dev.txt": "requirements-dev.lock"}
LOCKS = list(PAIRS.values())

each_lock = pytest.mark.parametrize("lock", LOCKS)
each_python = pytest.mark.parametrize("python", PYTHONS)


def text(name: str) -> str:
    return (ROOT / name).read_text()


def ranges(name: str) -> list[Requirement]:
    """What a requirements file asks for, the files that it includes among them."""
    found = []
    for line in filter(None, (line.partition("#")[0].strip() for line in text(name).splitlines())):
        included = line.removeprefix("-r ")
        found += ranges(included) if included != line else [Requirement(line)]
    return found


def entries(lock: str) -> list[tuple[Requirement, set[str]]]:
    """Each line that pins something, and its hashes."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", text(lock), flags=re.MULTILINE))
    parts = [line.split(" --hash=") for line in joined.splitlines()]
    return [(Requirement(pin), {each.strip() for each in hashes}) for pin, *hashes in parts]


def installed(lock: str, python: str) -> dict[str, tuple[str, set[str]]]:
    """What the lock installs on Linux, by name."""
    linux = {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    chosen = [(pin, hashes) for pin, hashes in entries(lock) if pin.marker is None or pin.marker.evaluate(linux)]
    found: dict[str, tuple[str, set[str]]] = {}
    for pin, hashes in chosen:
        found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("=="), hashes
    assert len(found) == len(chosen), "two versions of one package"
    return found


@each_lock
def test_every_line_is_one_version_with_hashes(lock: str) -> None:
    assert len(entries(lock)) > 20
    for pin, hashes in entries(lock):
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), pin


@each_lock
def test_no_host_and_no_option_stands_in_it(lock: str) -> None:
    """It installs from wherever pip is told to; the hashes say that it is the same."""
    assert "://" not in text(lock)
    options = re.findall(r"(?:^|\s)(-{1,2}[a-z][\w-]*)", re.sub(r"^\s*#.*$", "", text(lock), flags=re.MULTILINE))
    assert set(options) == {"--hash"}


@each_python
@pytest.mark.parametrize("name", PAIRS)
def test_it_holds_what_the_ranges_ask_for(name: str, python: str) -> None:
    locked = installed(PAIRS[name], python)
    for wanted in ranges(name):
        version, _ = locked[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), wanted


@each_python
def test_the_tests_run_on_what_is_deployed(python: str) -> None:
    dev = installed("requirements-dev.lock", python)
    assert {name: dev.get(name) for name in installed("requirements.lock", python)} == installed(
        "requirements.lock", python
    )


@each_lock
def test_it_holds_all_that_its_packages_bring_along(lock: str) -> None:
    """As the packages that are installed here say themselves."""
    locked = {canonicalize_name(pin.name) for pin, _ in entries(lock)}
    asked = 0
    for name in locked:
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # Not for this Python or this system.
        for requirement in map(Requirement, required):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in locked, (name, str(requirement))
                asked += 1
    assert asked > 10


def test_bootstrap_installs_nothing_else() -> None:
    commands = re.findall(r"pip install .*", text("tools/bootstrap"))
    assert [command.split("pip install ")[1] for command in commands] == [
        "--disable-pip-version-check --require-hashes --requirement requirements-dev.lock"
    ]
