"""Graphs of canvases and runs: one form, and its ways to be drawn."""
