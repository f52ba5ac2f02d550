"""The invocation path's own small room, beside the ASGI app that serves everything else."""
