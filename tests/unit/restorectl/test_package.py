"""The package, as an installation has it: only the command line, and it runs without the rest of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from restorectl import __version__

ROOT = Path(__file__).resolve().parents[3]


def test_a_wheel_holds_the_command_line_alone_and_runs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"restorectl-{__version__}-py3-none-any.whl"
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert archive.read(entry).decode() == "[console_scripts]\nrestorectl = restorectl.commands:main\n"
    assert {path.name for path in installed.iterdir()} == {"restorectl", f"restorectl-{__version__}.dist-info"}
    assert {path.name for path in (ROOT / "restorectl").glob("*.py")} == {
        path.name for path in (installed / "restorectl").iterdir()
    }
    code = "import sys; from restorectl.commands import main; sys.argv = ['restorectl', '--version']; main()"
    done = subprocess.run(
        # Not the folder that it is started in: the repository's `shared` is to be out of reach.
        [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"restorectl {__version__}\n"
