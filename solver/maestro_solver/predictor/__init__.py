"""Forecasts of output lengths: a distribution per role, learnt from every finished stage.

In memory and deterministic; keeping the learnt state across restarts is the store's job.
"""

from maestro_solver.predictor.role_statistics import LengthPredictor, PredictorConfig

__all__ = ["LengthPredictor", "PredictorConfig"]
