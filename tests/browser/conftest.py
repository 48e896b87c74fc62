"""The fixtures of the page's tests."""

from tests.browser.fix_page import browser, page, site

__all__ = ["browser", "page", "site"]
