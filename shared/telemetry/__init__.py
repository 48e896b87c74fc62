"""Traces and metrics of restores by OpenTelemetry. Nothing of it is loaded unless the process has an SDK."""
