"""Every day: what is archived and not restored is restored, as far as the rules look back."""

from __future__ import annotations

from shared.arrivals.daily import restore_daily
from shared.functions.entry import timer_function

main = timer_function("RestoreDaily", restore_daily)
