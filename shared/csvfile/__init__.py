"""Reads CSV as COPY does. Knows neither the archive nor the database."""
