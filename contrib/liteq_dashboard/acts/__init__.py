"""The acts of a viewer: the page that asks, the act, and files to be kept."""
