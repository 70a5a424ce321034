"""COCO's numbers of boxes."""
