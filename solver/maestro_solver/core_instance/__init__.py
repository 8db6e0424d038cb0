"""Core instances: the planning problem at its barest, for comparing planners on equal terms.

Every stage is placed on an accelerator, in time, with models loaded and evicted; one file format in, one out. The way
through the room: document, grid, planning (rules, decoder, key search, neighbourhoods, bounds), check, document.
"""
