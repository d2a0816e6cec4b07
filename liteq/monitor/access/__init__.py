"""The viewer's part: which rights there are, and what of keys and errors a person may see."""
