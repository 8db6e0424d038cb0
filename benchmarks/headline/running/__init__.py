"""Runs what a figure needs, seed by seed, and keeps every result: what was interrupted goes on where it was."""
