"""From labels and images to a distilled student: settings, steps, and what was gained."""
