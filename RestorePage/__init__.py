"""`GET /api/ui`: the page. It holds no data, and asks the other functions with the key of the person before it."""

from __future__ import annotations

from shared.api.handle import HttpAnswer
from shared.functions.entry import http_function
from shared.page.page import page, page_headers

main = http_function("RestorePage", lambda _: HttpAnswer(200, page_headers(), page()), media_type="text/html")
