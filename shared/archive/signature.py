"""Guesses what a file is that is not gzip, by its first bytes. Only for messages: no decision depends on it."""

from __future__ import annotations

# Of the formats that archives are kept in, and of those that are stored by mistake.
_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP file"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"BZh", "bzip2 data"),
    (b"\x04\x22\x4d\x18", "LZ4 data"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file"),
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    # RFC 1950: a deflate stream with zlib's header, as `zlib.compress` writes it.
    (b"\x78\x01", "zlib data, which lacks gzip's header"),
    (b"\x78\x9c", "zlib data, which lacks gzip's header"),
    (b"\x78\xda", "zlib data, which lacks gzip's header"),
)
_MARKUP = (b"<!doctype", b"<html", b"<?xml")
_LOOKED_AT_BYTES = 256
_CONTROLS_OF_TEXT = frozenset(b"\t\n\r\f")
_FIRST_PRINTABLE = 0x20


def looks_like(head: bytes) -> str | None:
    """Name what a file begins like.

    Args:
        head: its first bytes, as many as are available.

    Returns:
        A noun phrase; None where the bytes say nothing.
    """
    head = head[:_LOOKED_AT_BYTES]
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.lstrip().lower().startswith(_MARKUP):
        return "a web page or XML, as an error or a sign-in sends it"
    if not head.strip(b"\0"):
        return "zeros, as a file whose writer stopped before it wrote"
    if all(byte >= _FIRST_PRINTABLE or byte in _CONTROLS_OF_TEXT for byte in head):
        return "text that is not compressed"
    return None
