"""Labels as labelling tools write them: COCO, YOLO and Pascal VOC, read into one form."""
