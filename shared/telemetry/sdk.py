"""Whether the process has an OpenTelemetry SDK, and the guard around every call into it.

Without an SDK the API is a no-op, and importing it costs 27 ms of processor time. There is an SDK only if one was
configured before the functions are loaded: Microsoft's Python worker does it, by `azure.monitor.opentelemetry`, if the
app setting PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY is true (`initialize_azure_monitor` in
https://github.com/Azure/azure-functions-python-worker). So nothing is imported before the SDK is.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.log_redaction import OUR_LOGGER

_log = logging.getLogger(OUR_LOGGER)

# The instrumentation's scope, as OpenTelemetry calls it.
SCOPE = "restore_chunk"


def is_loaded() -> bool:
    """Whether anything receives spans and metrics."""
    return "opentelemetry.sdk" in sys.modules


@contextmanager
def guarded() -> Iterator[None]:
    """Keep failures of the telemetry away from the restore. Only their type is logged: a message may hold anything."""
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - a span is worth less than the restore
        with suppress(Exception):
            _log.warning("telemetry failed: %s", type(exc).__name__)
