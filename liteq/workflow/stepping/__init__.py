"""A step that history does not answer: its attempts, its limits and budgets, its memo, its doubt."""
