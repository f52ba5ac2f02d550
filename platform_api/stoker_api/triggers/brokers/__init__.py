"""One file per kind of broker; each alone imports its library."""
