"""An event about a blob: an archive that a rule names is restored."""

from __future__ import annotations

from shared.arrivals.arrive import archive_arrived
from shared.arrivals.rules import check_rules
from shared.functions.entry import queue_function

main = queue_function("ArchiveArrived", archive_arrived)
check_rules()
