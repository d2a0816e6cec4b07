"""Chains, groups and chords as rows: how one goes on, comes again, and is found to be there already."""
