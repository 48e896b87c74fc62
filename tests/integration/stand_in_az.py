"""A stand-in for the Azure CLI: it takes only the commands and options that the real one has, and notes its calls.

The table is from `az <command> --help` of azure-cli, whose version stands in it. It creates nothing. What a command
prints is what a test says (the variable AZ_ANSWERS, by command).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

KNOWN = json.loads(Path(__file__).with_name("stand_in_az.json").read_text())
# https://learn.microsoft.com/cli/azure/reference-index#global-parameters
GLOBAL = {"--output", "--query", "--only-show-errors", "--subscription", "--debug", "--verbose"}


def main(arguments: list[str]) -> int:
    first = next((place for place, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    command, options = " ".join(arguments[:first]), [word for word in arguments[first:] if word.startswith("--")]
    known = KNOWN["commands"].get(command)
    if known is None:
        return fail(f"'{command}' is misspelled or not recognized by the system")
    if unknown := set(options) - set(known["options"]) - GLOBAL:
        return fail(f"{command}: unrecognized arguments: {' '.join(sorted(unknown))}")
    if missing := set(known["required"]) - set(options):
        return fail(f"{command}: the following arguments are required: {' '.join(sorted(missing))}")
    with Path(os.environ["AZ_CALLS"]).open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    answer = json.loads(os.environ["AZ_ANSWERS"]).get(command, "")
    if answer is None:
        return fail(f"{command}: not found")
    if isinstance(answer, dict):
        answer = answer[arguments[arguments.index("--query") + 1]] if "--query" in arguments else ""
    sys.stdout.write(f"{answer}\n")
    return 0


def fail(message: str) -> int:
    sys.stderr.write(f"ERROR: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
