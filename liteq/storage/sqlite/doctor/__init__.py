"""The doctor of a file: its findings, the facts that it tells, and the things that it sets right."""
