"""The query of an `adls_url`: a shared access signature (SAS), whole and alone, or nothing. Pure.

No message of this module repeats what it was given.
"""

from __future__ import annotations

import re

from shared.errors import InvalidArchiveUrl
from shared.secret import Secret

# The three kinds of SAS that a blob can have, and what may stand in each:
# https://learn.microsoft.com/rest/api/storageservices/create-service-sas
# https://learn.microsoft.com/rest/api/storageservices/create-account-sas
# https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
# Not taken are those that do not work by themselves: sduoid and skdutid ask for the token of a user beside the SAS,
# srh and srq for headers and parameters. The function sends nothing but the SAS.
_SERVICE = "sv sr st se sp sip spr si ses sdd sig rscc rscd rsce rscl rsct"
_ACCOUNT = "sv ss srt sp st se sip spr ses sig"
_USER_DELEGATION = "sv sr st se sp sip spr skoid sktid skt ske sks skv saoid suoid scid ses sdd sig"
_KNOWN = frozenset(f"{_SERVICE} {_ACCOUNT} {_USER_DELEGATION}".split())
_NEEDED = frozenset({"sig", "sv"})
# What needs no escape in the value of a query (RFC 3986, 3.4, without the & between two). Anything else would be
# escaped on its way, and the signature might no longer be the one that was given.
_VALUE = re.compile(r"(?:[A-Za-z0-9._~:/+=,-]|%[0-9A-Fa-f]{2})+", re.ASCII)

_HINT = (
    "behind ? stands a SAS as Azure gives it out (sv=...&sig=...), or nothing: no snapshot, version or other parameter;"
    " a ? or # in a name is written %3F or %23"
)


def split_sas(text: str) -> tuple[str, Secret | None]:
    """Take the SAS off an `adls_url`.

    Args:
        text: the URL or path as the caller sent it.

    Returns:
        What stands before the first `?`, and the SAS without it, exactly as it was sent; None where there is none.

    Raises:
        InvalidArchiveUrl: there is a fragment, or a query that is not one SAS.
    """
    if "#" in text:
        raise InvalidArchiveUrl("adls_url must hold no fragment", hint=_HINT)
    url, mark, query = text.partition("?")
    if not mark:
        return text, None
    names = []
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        if name not in _KNOWN:
            raise InvalidArchiveUrl("the query of adls_url holds something that belongs to no SAS", hint=_HINT)
        if not _VALUE.fullmatch(value):
            raise InvalidArchiveUrl(
                "the query of adls_url holds an empty value, or a character that must be percent-encoded", hint=_HINT
            )
        names.append(name)
    if len(set(names)) != len(names):
        raise InvalidArchiveUrl("the query of adls_url holds a parameter twice", hint=_HINT)
    if not _NEEDED.issubset(names):
        raise InvalidArchiveUrl("the query of adls_url is no SAS: it lacks sig or sv", hint=_HINT)
    return url, Secret(query)
