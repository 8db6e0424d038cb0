"""How fast the simulator is, how much memory it takes, and whether its results are still what they were."""
