"""The Redis store: one server, Sentinel's master, or a cluster."""
