"""A CSV as COPY reads it. Knows neither the archive nor the database."""
