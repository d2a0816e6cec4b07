"""Upkeep of rows: finished ones leave, times are bounded, values are sealed anew."""
