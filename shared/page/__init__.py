"""The page at `/api/ui`: one file for the browser, put together from its three sources."""
