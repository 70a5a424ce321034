"""What is in a data set, and what is suspicious, before anything is trained on it."""
