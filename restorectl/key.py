"""Where the function app's key comes from: never from the command line, which every user of the machine can read."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from restorectl.exit_codes import UsageError

_KEY = re.compile(r"[A-Za-z0-9_=/+.~-]+", re.ASCII)
_SECONDS = 120


def find_key(environ: Mapping[str, str], key_file: Path | None, key_command: str | None) -> str | None:
    """Return the key; None if none is named.

    The options win over the environment: `RESTORE_KEY`, then `RESTORE_KEY_FILE`.

    Args:
        environ: the environment.
        key_file: a file that holds the key and nothing else.
        key_command: a command line, run without a shell, that prints the key.

    Raises:
        UsageError: it cannot be obtained, or is not a key. The error does not hold it.
    """
    if key_file is not None and key_command is not None:
        raise UsageError("--key-file and --key-command name two keys: leave one out")
    if key_command is not None:
        return _checked(_printed(key_command), "what --key-command prints")
    if key_file is not None:
        return _checked(_read(key_file), str(key_file))
    if environ.get("RESTORE_KEY"):
        return _checked(environ["RESTORE_KEY"], "RESTORE_KEY")
    if environ.get("RESTORE_KEY_FILE"):
        path = environ["RESTORE_KEY_FILE"]
        return _checked(_read(Path(path)), path)
    return None


def _checked(text: str, source: str) -> str:
    key = text.strip()
    if not key:
        raise UsageError(f"{source} is empty: there is no key")
    if not _KEY.fullmatch(key):
        raise UsageError(f"{source} holds a character that no function key has")
    return key


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text("utf-8")
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} holds a character that no function key has") from None


def _printed(command: str) -> str:
    try:
        words = shlex.split(command, posix=os.name == "posix")
        if not words:
            raise UsageError("--key-command is empty")
        # Its standard error stays the terminal: `az` asks for a login there.
        done = subprocess.run(words, stdout=subprocess.PIPE, check=False, timeout=_SECONDS, text=True)  # noqa: S603 - the user's own command
    except (OSError, ValueError) as exc:
        raise UsageError(f"--key-command cannot be run: {exc}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"--key-command did not end within {_SECONDS} s") from None
    if done.returncode:
        raise UsageError(f"--key-command ended with {done.returncode}")
    return done.stdout
