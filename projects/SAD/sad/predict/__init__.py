"""A trained detector on images of one's own."""
