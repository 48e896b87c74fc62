"""Every minute: restores whose worker is gone go back into the queue, and old records end."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import sealed, set_up
from shared.jobs.sweep import sweep

set_up()


def main(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by its name
    """Look after all restores once."""
    sealed("RestoreSweep", sweep)
