"""The trainer: steps, hooks, processes."""
