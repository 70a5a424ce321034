"""Sentences that the page as a picture and the page to look at have in common."""


def timing(report: dict) -> str:
    """How the time of an image was measured."""
    machine = report["machine"]
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return (
        f"Time: median of {report['timed_images']} images, one at a time, models in turn, on "
        f"{machine['device']} ({machine['cpu']}, {cores}, "
        f"torch threads: {machine['torch_threads']}, torch {machine['torch']})."
    )


def shown_detections(report: dict) -> str:
    """From which score on detections are shown."""
    thresholds = report["pictures"]["thresholds"]
    if len(set(thresholds.values())) == 1:
        return f"detections with a score of {next(iter(thresholds.values())):g} or more"
    each = ", ".join(f"{name} {threshold:g}" for name, threshold in thresholds.items())
    return f"detections from the score with the best F1 on: {each}"
