"""How far a restore is, and whether it is to stop. The restore writes it; other threads read it, and may cancel."""
