"""Fits the simulator to recorded traces, and measures how far it is off real engines."""
