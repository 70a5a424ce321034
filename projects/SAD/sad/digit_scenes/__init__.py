"""A detection data set of handwritten digits, made here."""
