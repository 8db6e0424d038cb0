"""The scheduler service, its command line, and what else runs beside it."""
