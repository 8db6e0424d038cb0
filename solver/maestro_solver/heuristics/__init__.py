"""List scheduling: named policies order the stages, one scheduler places them, whole or one stage at a time.

Works on the same integer grid as the exact model, so that every schedule it makes is a feasible hint for it.
"""
