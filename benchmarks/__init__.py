"""Measurements of liteq, as ratios inside one run: the machine's own speed divides out."""
