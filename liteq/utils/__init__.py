"""Small helpers without a home of their own; `liteq.utils.log` is public."""
