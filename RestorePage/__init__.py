"""`GET /api/ui`: the page. It holds no data, and asks the other functions with the key of the person before it."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import get_page

main = http_function("RestorePage", get_page, media_type="text/html")
