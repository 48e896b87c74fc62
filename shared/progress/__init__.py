"""The progress of a restore, and its cancel. The restore writes its progress; other threads read it, and may cancel."""
