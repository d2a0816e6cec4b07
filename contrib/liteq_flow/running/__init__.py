"""The run of a flow: the workflow `liteq.flow`, an async body. What touches the machine is a job (jobs/)."""
