"""Teacher, student, and what one learns from the other."""
