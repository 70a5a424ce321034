"""The losses as functions of tensors. Nothing of `sad` is imported here."""
