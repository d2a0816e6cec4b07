"""The acts of operators and of remote control, and what is kept of them."""
