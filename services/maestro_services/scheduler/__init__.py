"""The scheduler: a pure core, the loop that drives it, the store, the planner's host, and the gRPC servers."""
