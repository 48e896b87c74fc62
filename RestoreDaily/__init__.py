"""Every day: what is archived and not restored is restored, as far as the rules look back."""

from __future__ import annotations

import azure.functions as func

from shared.arrivals.daily import restore_daily
from shared.functions.entry import NO_CONTEXT, sealed, set_up

set_up()


def main(
    timer: func.TimerRequest,  # noqa: ARG001 - the host passes it by its name
    context: func.Context = NO_CONTEXT,
) -> None:
    """Look at the days of all daily rules once."""
    sealed("RestoreDaily", context, restore_daily)
