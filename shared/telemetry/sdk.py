"""Whether the process has an OpenTelemetry SDK, and the guard around every call into it.

Without an SDK the API is a no-op, and importing it costs 27 ms of processor time. An SDK is there only if somebody has
configured one before the functions are loaded: Microsoft's Python worker does, by `azure.monitor.opentelemetry`, if the
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
    """Whether there is anything that takes spans and figures."""
    return "opentelemetry.sdk" in sys.modules


@contextmanager
def guarded() -> Iterator[None]:
    """Keep what fails in the telemetry away from the restore. The log names its type alone: texts may hold anything."""
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - a span is worth less than the restore
        with suppress(Exception):
            _log.warning("telemetry failed: %s", type(exc).__name__)
