"""Tables and progress for a terminal; plain text of the same shape for a pipe."""
