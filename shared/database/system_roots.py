"""The root certificates of this machine, as a file that libpq can be told.

libpq's own word for them, `sslrootcert=system`, asks the OpenSSL that it was linked with. That of psycopg2-binary looks
into the folder in which the wheel was built, and finds nothing (`OPENSSLDIR: "/host/tmp/libpq.build"` in 2.9.13).
"""

from __future__ import annotations

import ssl
from pathlib import Path

# Where distributions keep them all in one file: https://go.dev/src/crypto/x509/root_linux.go lists the same.
_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu: the images of Azure Functions
    "/etc/pki/tls/certs/ca-bundle.crt",  # Azure Linux, Fedora
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/cert.pem",  # Alpine
)


def find_system_roots() -> str | None:
    """Return the path of the file; None where there is none. `SSL_CERT_FILE` comes first, as everywhere."""
    known = ssl.get_default_verify_paths().cafile
    return next((path for path in (known, *_FILES) if path and Path(path).is_file()), None)
