"""A rehearsal of the paper's scale: its workflow on little data, with models of random weights."""
