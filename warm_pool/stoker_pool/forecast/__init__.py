"""When a function will be called next, and when it therefore pays to be loaded."""
