"""From the text of a file to a flow, or to everything that is wrong with it."""
