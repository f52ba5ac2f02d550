"""The control API: everything on the port that is no invocation."""
