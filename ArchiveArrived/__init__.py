"""An event about a blob: an archive that a rule names is restored."""

from __future__ import annotations

import azure.functions as func

from shared.arrivals.arrive import archive_arrived
from shared.arrivals.rules import check_rules
from shared.functions.entry import NO_CONTEXT, sealed, set_up

set_up()
check_rules()


def main(msg: func.QueueMessage, context: func.Context = NO_CONTEXT) -> None:
    """Order the restore that one event leads to."""
    sealed("ArchiveArrived", context, lambda: archive_arrived(msg.get_body()))
