"""Whole fleets in virtual time: the real scheduler core, planner and node core over simulated engines.

Pure but for files of traces and results: a scenario, a workload, a policy and a seed give one result.
"""
