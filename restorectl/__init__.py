"""restorectl: restores archived days from a terminal, through the functions of restore-chunk.

A client over HTTP. It knows the contract of `docs/openapi.json` and nothing else of the function app: it is installed
without it.
"""

__version__ = "0.1.0"
