"""Whether the app could restore a day now: its settings, its own storage account, the database server."""
