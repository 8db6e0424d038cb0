"""Decisions: forecasts, heuristics, the joint model, plans and their checker. No sockets, no files, no clocks."""
