"""Jobs: the part of a flow that touches the machine. Each is a message, which a worker with --commands takes."""
