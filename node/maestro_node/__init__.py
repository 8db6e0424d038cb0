"""The node service: it owns the accelerators of one machine and the engines on them."""
