"""Reads for people and programs: lists, counts, places in the queue, canvases. Nothing here writes."""
