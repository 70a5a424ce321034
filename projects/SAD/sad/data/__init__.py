"""From a COCO json to batches of labelled and unlabelled images."""
