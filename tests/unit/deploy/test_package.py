"""deploy/package.py: what is packed, and that it is enough for all that the app does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy import package
from deploy.package import PACKAGES, PackageError
from tests.unit.tools.wheels import write_wheel
from tools.installed import PYTHON, copy_installed


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The app with the packages that are installed here and without what is left out; what it did before that."""
    app = tmp_path_factory.mktemp("packed") / "app"
    package.copy_app(app)
    copy_installed(app / PACKAGES)
    before = package.prove(sys.executable, app)
    package.prune(app / PACKAGES, text_only=False)
    return app, before


def broken(pruned: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the pruned app, to break it."""
    return Path(shutil.copytree(pruned[0], tmp_path / "app", copy_function=os.link))


def test_what_is_packed_is_enough(pruned: tuple[Path, str]) -> None:
    """All modules that a line of the app imports, and a file with a column of each type that is copied in binary."""
    app, before = pruned
    assert package.prove(sys.executable, app) == before
    done = json.loads(before)
    assert len(set(done["encoded"])) == 3, "an option changed nothing"
    assert str(app / "RestoreChunk/__init__.py") in done["started"]
    assert not [file for file in done["started"] if "/pyarrow/" in file], "pyarrow is loaded where it is used"


def test_a_module_that_is_missing_is_found(pruned: tuple[Path, str], tmp_path: Path) -> None:
    app = broken(pruned, tmp_path)
    shutil.rmtree(app / PACKAGES / "azure/identity")
    with pytest.raises(PackageError, match=r"No module named 'azure\.identity'"):
        package.prove(sys.executable, app)


def test_a_symbol_that_is_missing_is_found(pruned: tuple[Path, str], tmp_path: Path) -> None:
    """The linker would look for most of them at their first call only."""
    app = broken(pruned, tmp_path)
    (library,) = (app / PACKAGES).glob("pyarrow/libarrow_compute.so.*")
    for file in (app / PACKAGES).glob("pyarrow/*.so*"):
        package.no_longer_need(file, {library.name})
    with pytest.raises(PackageError, match="undefined symbol"):
        package.prove(sys.executable, app)


def test_a_changed_pyarrow_is_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "pyarrow-26.0.1.dist-info").mkdir()
    with pytest.raises(PackageError, match=r"pyarrow/\*\.pxd is not there"):
        package.prune(tmp_path, text_only=False)


def test_text_only_is_enough_without_pyarrow_and_pgpq(tmp_path: Path) -> None:
    package.copy_app(tmp_path)
    copy_installed(tmp_path / PACKAGES, text_only=True)
    package.prune(tmp_path / PACKAGES, text_only=True)
    assert not {path.name for path in (tmp_path / PACKAGES).iterdir()} & {"pyarrow", "pgpq"}
    assert json.loads(package.prove(sys.executable, tmp_path))["encoded"] is None


def test_what_a_start_loads_has_byte_code(tmp_path: Path) -> None:
    """Python takes it without a look at the source, whose time a mounted zip may show otherwise."""
    (tmp_path / "module.py").write_text("raise ValueError\n")
    package.compile_started(sys.executable, tmp_path, [str(tmp_path / "module.py")])
    (tmp_path / "module.py").write_text("from_the_source = True\n")
    done = subprocess.run(
        [sys.executable, "-c", "import module"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert f'File "{tmp_path}/module.py", line 1' in done.stderr
    assert "ValueError" in done.stderr


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_each_python_gets_its_own_versions(python: str) -> None:
    """pip would compare the lock's markers with the Python that it runs on."""
    found = package.locked(python=python, text_only=False)
    newer = tuple(int(part) for part in python.split(".")) >= (3, 13)
    assert found["azure-functions"].startswith("azure-functions==2." if newer else "azure-functions==1.")
    assert all("--hash=sha256:" in lines and ";" not in lines for lines in found.values())
    assert set(found) - set(package.locked(python=python, text_only=True)) == {"pyarrow", "pgpq"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose lock names one package, which pip finds in a folder."""
    index = tmp_path / "index"
    index.mkdir()
    write_wheel(index, "left", "1.0")
    (wheel,) = index.iterdir()
    root = tmp_path / "project"
    root.mkdir()
    hashed = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (root / "requirements.lock").write_text(
        f"left==1.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:{hashed}\n    # via -r requirements.txt\n"
    )
    monkeypatch.setattr(package, "REPOSITORY", root)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return root


@pytest.mark.usefixtures("project")
def test_pip_installs_what_the_lock_has_for_the_apps_python(tmp_path: Path) -> None:
    package.install(tmp_path / "new", python="3.12", text_only=False)
    assert (tmp_path / "new/left-1.0.dist-info/METADATA").exists()
    assert package.locked(python="3.11", text_only=False) == {}


def test_a_file_that_is_not_the_locks_is_an_error(project: Path, tmp_path: Path) -> None:
    lock = project / "requirements.lock"
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000"))
    with pytest.raises(PackageError, match="pip"):
        package.install(tmp_path / "new", python="3.12", text_only=False)


def test_the_apps_files_are_those_that_funcignore_leaves(pruned: tuple[Path, str]) -> None:
    app, _ = pruned
    there = {path.name for path in app.iterdir()}
    assert {"host.json", "RestoreChunk", "shared", ".python_packages"} <= there
    assert not there & {"tests", "tools", "deploy", "docs", ".git", ".gitignore", "local.settings.json"}


def test_two_zips_of_a_folder_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / ".python_packages").mkdir(parents=True)
    (folder / ".python_packages/module.py").write_text("text\n")
    package.write_zip(folder, tmp_path / "one.zip")
    (folder / ".python_packages/module.py").write_text("text\n")
    package.write_zip(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        (entry,) = packed.infolist()
    assert (entry.filename, entry.external_attr >> 16) == (".python_packages/module.py", 0o100644)


def test_a_python_that_is_not_here_checks_nothing() -> None:
    assert package.find_interpreter(PYTHON) == sys.executable
    assert package.find_interpreter("3.99") is None
