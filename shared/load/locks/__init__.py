"""The locks of a load: one against a second restore, and those on the chunks over the day."""
