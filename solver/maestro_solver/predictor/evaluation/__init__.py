"""What forecasts are worth: errors, coverage, order and KV reservations, overall, per app and per role.

For the command line and benchmarks; nothing that forecasts imports it. Kendall's tau needs scipy and the boosting
baseline scikit-learn, both imported where they are asked for.
"""
