"""Reports are made in the background, and the page is told live how far they are."""
