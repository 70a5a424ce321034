"""The teacher's boxes on unlabelled images, as a COCO json."""
