"""Settings of trainings and datasets: dataclasses from JSON, YAML and the command line."""
