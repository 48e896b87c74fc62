"""Makes the zip that is deployed: the app, its packages for Azure's Linux, and nothing that the app never loads.

    python3 deploy/package.py app.zip [--python 3.12] [--text-only]

It needs git, pip and, to prove that the zip can do its work, the Python of the app on a Linux with an x86-64
processor. Nothing else is imported, so any Python from 3.10 on runs it without a virtual environment.

Azure installs nothing of its own beside it: packages are looked for in `.python_packages/lib/site-packages`
(https://learn.microsoft.com/azure/azure-functions/python-build-options#local-build).
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = Path(".python_packages/lib/site-packages")
MIB = 1024 * 1024

# Those without which files are copied as text (docs/deploying.md).
BINARY_ONLY = ("pgpq", "pyarrow")
# glibc 2.31 is the oldest of Microsoft's images for Python 3.10 - 3.13, on Debian 11
# (https://github.com/Azure/azure-functions-docker).
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

# A part of libarrow before pyarrow 26.
_S3, _S3_SINCE = "pyarrow/libarrow_s3.so.*", 26
# Left out of pyarrow 25 and 26. Each must be there; a version without one is to be looked at again.
_NOT_IMPORTED = (
    "pyarrow/*.pxd",
    "pyarrow/*.pxi",
    "pyarrow/*.pyx",
    "pyarrow/include",
    "pyarrow/includes",
    "pyarrow/src",
    "pyarrow/tests",
    "pyarrow/_acero.*.so",
    "pyarrow/_azurefs.*.so",
    "pyarrow/_dataset*.so",
    "pyarrow/_feather.*.so",
    "pyarrow/_flight.*.so",
    "pyarrow/_fs.*.so",
    "pyarrow/_gcsfs.*.so",
    "pyarrow/_hdfs.*.so",
    "pyarrow/_json.*.so",
    "pyarrow/_orc.*.so",
    "pyarrow/_parquet*.so",
    "pyarrow/_pyarrow_cpp_tests.*.so",
    "pyarrow/_s3fs.*.so",
    "pyarrow/_substrait.*.so",
    "pyarrow/libarrow_flight.so.*",
    "pyarrow/libarrow_python_flight.so*",
    "pyarrow/libarrow_python_parquet_encryption.so*",
    _S3,
    # The same file as libarrow_python.so.<n>, which is the name that is loaded. A wheel has no links.
    "pyarrow/libarrow_python.so",
    "pyarrow/libarrow_python.so.*.*.*",
)
# The libraries that stay name these as needed and use nothing of them: the wheel is linked without --as-needed. So
# they are taken out of the list of needed ones too. The proof runs with LD_BIND_NOW, where a symbol that cannot be
# found ends the import.
_NOT_USED = (
    "pyarrow/libarrow_acero.so.*",
    "pyarrow/libarrow_dataset.so.*",
    "pyarrow/libarrow_substrait.so.*",
    "pyarrow/libparquet.so.*",
)


class PackageError(Exception):
    """The zip cannot be made, or could not do its work."""


def make(target: Path, *, python: str, text_only: bool = False) -> list[str]:
    """Make the zip.

    Args:
        target: the file to write.
        python: the app's Python, as `3.12`.
        text_only: leave out pyarrow and pgpq.

    Returns:
        What to say about it, a line each.

    Raises:
        PackageError: a package cannot be had, lacks a file that is left out, or the zip fails its proof.
    """
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app"
        copy_app(app)
        install(app / PACKAGES, python=python, text_only=text_only)
        return finish(app, target, python=python, text_only=text_only)


def finish(app: Path, target: Path, *, python: str, text_only: bool) -> list[str]:
    """Prune the packages of an app, prove that it still does its work, and zip it.

    Args:
        app: the folder of the app, with all of its packages.
        target: the file to write.
        python: the app's Python.
        text_only: pyarrow and pgpq are not there.

    Returns:
        As `make`.

    Raises:
        PackageError: as `make`.
    """
    interpreter = find_interpreter(python)
    before = interpreter and prove(interpreter, app)
    prune(app / PACKAGES, text_only=text_only)
    if interpreter is None:
        said = f"NOT CHECKED, and no byte code in it: that takes a python{python} on Linux with an x86-64 processor"
    elif (after := prove(interpreter, app)) != before:
        raise PackageError("without what is left out, the app encodes a file otherwise, or loads other files")
    else:
        compile_started(interpreter, app, json.loads(after)["started"])
        said = f"checked by Python {python}: the app imports all that it imports, and encodes a file as with all files"
    write_zip(app, target)
    size = target.stat().st_size
    return [f"{size / MIB:.1f} MiB ({size / 1e6:.1f} MB)", said]


def compile_started(interpreter: str, app: Path, files: list[str]) -> None:
    """Put the byte code into an app that its start and first calls load. Azure mounts the zip: Python cannot keep it.

    Args:
        interpreter: the program of the app's Python.
        app: the folder of the app.
        files: what to compile.
    """
    # The zip does not change, so Python need not compare: https://docs.python.org/3/library/py_compile.html
    command = [interpreter, "-I", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-i", "-"]
    command += ["-s", str(app.resolve()), "-p", "/home/site/wwwroot"]
    subprocess.run(command, input="\n".join(files), check=True, text=True)


def copy_app(app: Path) -> None:
    """Copy the files that git tracks and `.funcignore` does not leave out.

    Args:
        app: the folder to make.
    """
    git = ("git", "-C", str(REPOSITORY))
    tracked = subprocess.run([*git, "ls-files", "-z"], check=True, capture_output=True).stdout
    ignore = (
        *git,
        "-c",
        f"core.excludesFile={REPOSITORY / '.funcignore'}",
        "check-ignore",
        "-z",
        "--no-index",
        "--stdin",
    )
    # 1: it ignores none of them.
    left_out = subprocess.run(ignore, input=tracked, check=False, capture_output=True).stdout
    for name in sorted(set(tracked.decode().split("\0")) - set(left_out.decode().split("\0"))):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, app / name)


def install(folder: Path, *, python: str, text_only: bool) -> None:
    """Install what requirements.lock names, for the Linux and the Python of the app.

    Args:
        folder: where to.
        python: the app's Python.
        text_only: without pyarrow and pgpq.

    Raises:
        PackageError: pip failed; a file's hash is not the lock's, for instance.
    """
    with tempfile.TemporaryDirectory() as made:
        lock = Path(made) / "requirements.lock"
        lock.write_text("".join(locked(python=python, text_only=text_only).values()))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        command += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
        command += [f"--python-version={python}", *(f"--platform={name}" for name in _PLATFORMS)]
        command += [f"--target={folder}", f"--requirement={lock}"]
        if subprocess.run(command, check=False).returncode:
            raise PackageError("pip failed")


def locked(*, python: str, text_only: bool) -> dict[str, str]:
    """Return the packages of requirements.lock for a Python, and what it says of each.

    pip compares a marker with the Python that it runs on, whatever `--python-version` says
    (https://pip.pypa.io/en/stable/cli/pip_install/#cmdoption-python-version). So the markers are resolved here.

    Args:
        python: the app's Python.
        text_only: without pyarrow and pgpq.

    Returns:
        The lines of each package, by its name, without its marker.

    Raises:
        PackageError: pip is missing.
    """
    try:
        from pip._vendor.packaging.markers import Marker  # noqa: PLC0415 - pip itself may be missing
    except ImportError as exc:
        raise PackageError("pip is missing: python3 -m ensurepip, or the package python3-pip") from exc
    there = {"implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix"}
    there |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    there |= {"python_version": python, "python_full_version": f"{python}.0"}
    found = {}
    for block in re.findall(
        r"^[a-z0-9].*(?:\n[ #].*)*\n", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE
    ):
        first, _, rest = block.partition("\n")
        name, _, marker = (part.strip() for part in first.removesuffix("\\").partition(";"))
        package = name.partition("==")[0]
        if (not marker or Marker(marker).evaluate(there)) and not (text_only and package in BINARY_ONLY):
            found[package] = f"{name} \\\n{rest}"
    return found


def prune(packages: Path, *, text_only: bool) -> None:
    """Remove what the app never loads.

    Args:
        packages: the folder of the packages.
        text_only: pyarrow is not there.

    Raises:
        PackageError: a file that is to be left out is not there.
    """
    if text_only:
        return
    (info,) = _found(packages, "pyarrow-*.dist-info")
    is_one_library = int(info.name.removeprefix("pyarrow-").partition(".")[0]) < _S3_SINCE
    for pattern in _NOT_IMPORTED:
        for found in () if pattern == _S3 and is_one_library else _found(packages, pattern):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    unused = [found for pattern in _NOT_USED for found in _found(packages, pattern)]
    for library in unused:
        library.unlink()
    names = {library.name for library in unused}
    for file in packages.glob("pyarrow/*.so*"):
        no_longer_need(file, names)


def _found(packages: Path, pattern: str) -> list[Path]:
    found = sorted(packages.glob(pattern))
    if not found:
        raise PackageError(
            f"{pattern} is not there: see what this version of pyarrow needs, and change deploy/package.py"
        )
    return found


# The ELF format: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html, for 64 bits, little-endian.
_PT_DYNAMIC, _PT_LOAD = 2, 1
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5
# Where the table of segments is, the size of a row and their number; the fields of `_Segment`; a tag and its value.
_HEADER, _SEGMENT, _ENTRY = struct.Struct("<32xQ14xHH6x"), struct.Struct("<I4xQQ8xQ16x"), struct.Struct("<qQ")


class _Segment(NamedTuple):
    """A part of a library: where it is in the file, and where it is mapped in memory."""

    kind: int
    offset: int
    address: int
    size: int


def no_longer_need(file: Path, names: Iterable[str]) -> None:
    """Take names out of the list of the libraries that a library needs.

    Args:
        file: the library, an ELF file for 64 bits.
        names: of the libraries that it shall not load.
    """
    data = bytearray(file.read_bytes())
    offset, size, count = _HEADER.unpack_from(data)
    segments = [_Segment(*_SEGMENT.unpack_from(data, offset + number * size)) for number in range(count)]
    (dynamic,) = [one for one in segments if one.kind == _PT_DYNAMIC]
    start, length = dynamic.offset, dynamic.size
    entries = [_ENTRY.unpack_from(data, start + place) for place in range(0, length, _ENTRY.size)]
    entries = entries[: entries.index((_DT_NULL, 0))]
    # The table of names. Its address in memory leads to its place in the file.
    in_memory = next(value for tag, value in entries if tag == _DT_STRTAB)
    (mapped,) = [one for one in segments if one.kind == _PT_LOAD and 0 <= in_memory - one.address < one.size]
    strings = in_memory - mapped.address + mapped.offset

    def needed(tag: int, value: int) -> str:
        place = strings + value
        return bytes(data[place : data.index(0, place)]).decode() if tag == _DT_NEEDED else ""

    gone = {needed(*entry) for entry in entries} & set(names)
    kept = [entry for entry in entries if needed(*entry) not in gone]
    kept += [(_DT_NULL, 0)] * (length // _ENTRY.size - len(kept))
    data[start : start + length] = b"".join(_ENTRY.pack(*entry) for entry in kept)
    if gone:
        # Not into the file: it may be a link to one of another folder.
        file.unlink()
        file.write_bytes(data)


def find_interpreter(python: str) -> str | None:
    """Return the program of a Python that can run the packages of the zip; None if there is none."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return None
    if sys.version_info[:2] == tuple(int(part) for part in python.split(".")):
        return sys.executable
    program = shutil.which(f"python{python}")
    works = program and not subprocess.run([program, "-c", ""], check=False, capture_output=True).returncode
    return program if works else None


def prove(interpreter: str, app: Path) -> str:
    """Let the app do its work with no packages but its own.

    Args:
        interpreter: the program of the app's Python.
        app: the folder of the app, with its packages.

    Returns:
        What it made of a small file, for a comparison.

    Raises:
        PackageError: it failed.
    """
    # Without site-packages, and with each symbol of a library looked up at once.
    command = [interpreter, "-I", "-S", "-B", str(REPOSITORY / "deploy/proof.py"), str(app), str(app / PACKAGES)]
    done = subprocess.run(command, env={"LD_BIND_NOW": "1"}, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PackageError(f"the app cannot do its work with what is packed:\n{done.stderr}")
    return done.stdout


def write_zip(folder: Path, target: Path) -> None:
    """Zip a folder. Two zips of the same files are the same.

    Args:
        folder: what to zip.
        target: the file to write.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            # Azure mounts the zip, by another user.
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes(), compresslevel=9)


def main() -> None:
    """Make the zip that the arguments ask for."""
    parser = argparse.ArgumentParser("deploy/package.py", description="Make the zip that is deployed.")
    parser.add_argument("zip", type=Path, help="the file to write")
    parser.add_argument("--python", default="3.12", choices=("3.10", "3.11", "3.12", "3.13"), help="the app's Python")
    parser.add_argument("--text-only", action="store_true", help="leave out pyarrow and pgpq")
    given = parser.parse_args()
    try:
        said = make(given.zip, python=given.python, text_only=given.text_only)
    except PackageError as exc:
        sys.exit(f"error: {exc}")
    sys.stdout.writelines(f"   {line}\n" for line in said)


if __name__ == "__main__":
    main()
