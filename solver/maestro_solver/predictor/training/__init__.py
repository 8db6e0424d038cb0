"""Training of the predictor's network from traces, with torch.

The one place of the predictor that imports torch; forecasts are made without it.
"""
