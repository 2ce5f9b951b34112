"""The `rcn` command: one module per subcommand.

A command module has a docstring whose first line is its help text, `add_arguments(parser)`
and `run(args)`; `rcn_tf.commands.main` lists them. Only here are arguments parsed, things
printed and exit codes chosen.
"""
