"""Every minute: restores whose worker is gone go back into the queue, backfills go on, and old records end."""

from __future__ import annotations

import azure.functions as func

from shared.backfills.worker import resume_broken_chains
from shared.functions.entry import NO_CONTEXT, sealed, set_up
from shared.jobs.sweep import sweep

set_up()


def main(
    timer: func.TimerRequest,  # noqa: ARG001 - the host passes it by its name
    context: func.Context = NO_CONTEXT,
) -> None:
    """Look after all restores once."""
    sealed("RestoreSweep", context, _look_after_all)


def _look_after_all() -> None:
    sweep()
    resume_broken_chains()
