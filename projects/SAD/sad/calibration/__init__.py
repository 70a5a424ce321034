"""What the teacher's boxes are worth, by labelled images that it was not trained on."""
