"""Fits the simulator to recorded traces, and measures how fast it is."""
