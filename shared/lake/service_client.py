"""The SDK's client of one account: how patient it is, how much it reads at once, and how long it is kept.

A client holds a pool of connections, each with a TLS handshake behind it, so one is kept for every account and
credential.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.core.pipeline import PipelineResponse
from azure.storage.filedatalake import DataLakeServiceClient

MIB = 1024 * 1024
# How much of a file one request asks for. Azurite hashes every range of up to 4 MiB, asked or not.
RANGE_BYTES = 5 * MIB

_PARTIAL_CONTENT, _TOO_MANY_REQUESTS = 206, 429
_ASKED = re.compile(r"bytes=(\d+)-(\d+)")
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


def _check_answer(response: PipelineResponse[Any, Any]) -> None:
    """Make errors of answers that the SDK hands on as they are; after an error it tries again.

    It repeats a 5xx but no 429, and takes an answer with fewer bytes than it asked for, as long as Content-Length
    agrees with it. Read from `is_retry` and `StorageRetryPolicy.send` of azure-storage-blob 12.31, and measured.
    """
    answer = response.http_response
    if answer.status_code == _TOO_MANY_REQUESTS:
        raise HttpResponseError(response=answer)
    asked = _ASKED.fullmatch(response.http_request.headers.get("x-ms-range", ""))
    total = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
    length = answer.headers.get("Content-Length", "")
    if answer.status_code == _PARTIAL_CONTENT and asked and total and length.isdecimal():
        expected = min(int(asked[2]) + 1, int(total[1])) - int(asked[1])
        if int(length) != expected:
            raise ServiceResponseError(f"storage answered with {length} bytes of {expected}")


# Three attempts of 10 s to connect, or of 20 s of silence, with pauses of 2 s and 4 s: an account that does
# not answer is given up after about a minute. The SDK's own defaults take several.
# A file client takes all of this over from its service client: `DataLakeServiceClient.get_file_client` hands on the
# pipeline with its policies and the configuration (azure-storage-file-datalake 12.26).
OPTIONS: dict[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 20,
    "retry_total": 2,
    "initial_backoff": 0,
    "increment_base": 2,
    "random_jitter_range": 0,
    # Storage never redirects; a token or a signature must not follow whoever does.
    "permit_redirects": False,
    "raw_response_hook": _check_answer,
    "max_single_get_size": RANGE_BYTES,
    "max_chunk_get_size": RANGE_BYTES,
}

_MOST_CLIENTS = 16
# Azure's load balancers forget a connection that was silent for four minutes, and do not say so: the next request on it
# would wait for all of its read timeout. https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-reset
_IDLE_SECONDS = 180

_kept: OrderedDict[Hashable, tuple[DataLakeServiceClient, float]] = OrderedDict()
_lock = threading.Lock()


def kept_client(key: Hashable, make: Callable[[], DataLakeServiceClient]) -> DataLakeServiceClient:
    """Return the process's one client for a key.

    The 16 that were used last are kept, each until nobody asked for it for three minutes. One that is dropped is not
    closed, since it may be in use: its connections go with its last user.

    Args:
        key: what tells clients apart: the account and the whole credential. It is kept as long as the client, so that a
            `Secret` in it stays known as one.
        make: makes the client, with `OPTIONS`.
    """
    now = time.monotonic()
    with _lock:
        client, used_at = _kept.pop(key, (None, now))
        if client is None or now - used_at > _IDLE_SECONDS:
            client = make()
            # Opens the transport, where one thread does it: else the first request does, unguarded, and two first
            # requests would each make a pool.
            client.__enter__()
        _kept[key] = client, now
        while len(_kept) > _MOST_CLIENTS:
            _kept.popitem(last=False)
    return client


def forget_clients() -> None:
    """Drop all clients that are kept."""
    with _lock:
        _kept.clear()
