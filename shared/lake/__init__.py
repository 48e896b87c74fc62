"""Where the day comes from: URL, blob, gzip, CSV header."""
