"""The page at `/api/ui`: one file for the browser, assembled from three sources."""
