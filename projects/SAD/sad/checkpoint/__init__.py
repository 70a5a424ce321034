"""Weights and states on disk: written whole, read without running code."""
