"""Commands of a shell: where a reference stands in one, and how it is quoted there."""
