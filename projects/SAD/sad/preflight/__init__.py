"""What is wrong with a run, found before anything is written."""
