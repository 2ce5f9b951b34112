"""Training: a config, an optimiser with the paper's schedule, a loop that can be resumed."""
