"""What finished runs score and cost, as a page."""
