"""Exported files, read again: what they say of themselves, and the detector that they hold."""
