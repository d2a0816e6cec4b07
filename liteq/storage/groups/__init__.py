"""Groups that grow: members that come one by one, and groups that are kept under an id."""
