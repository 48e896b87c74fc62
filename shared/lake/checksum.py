"""Whether the stored bytes are the ones that were promised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from shared.errors import ArchiveChecksumMismatch


def checked(chunks: Iterable[bytes], *, sha256: str | None, md5: bytes | None) -> Iterator[bytes]:
    """Pass the bytes through, and refuse them at their end where they are others than promised.

    Args:
        chunks: the stored bytes.
        sha256: what the caller expects, as 64 lower-case hexadecimal digits; None: nothing.
        md5: the blob's Content-MD5, which whoever uploaded it may have set; None: it has none.

    Yields:
        The same bytes.

    Raises:
        ArchiveChecksumMismatch: one of the two does not agree.
    """
    promised = []
    if sha256 is not None:
        promised.append(("copy.expected_sha256", hashlib.sha256(), bytes.fromhex(sha256)))
    if md5 is not None:
        # No security rests on it: it finds damage.
        promised.append(("adls_url", hashlib.md5(usedforsecurity=False), md5))
    for chunk in chunks:
        for _, digest, _ in promised:
            digest.update(chunk)
        yield chunk
    for target, digest, expected in promised:
        if digest.digest() != expected:
            what = "its Content-MD5" if target == "adls_url" else "expected_sha256"
            raise ArchiveChecksumMismatch(
                f"the stored file's {digest.name} is {digest.hexdigest()}, but {what} says {expected.hex()}",
                target=target,
            )
