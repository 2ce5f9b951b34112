"""The `rcn` command: one module per subcommand.

A command module has a docstring whose first line is its help text, `add_arguments(parser)`
and `run(args)`; `rcn_tf.commands.main` lists the modules. Arguments are parsed, results printed
and exit codes chosen only in this package.
"""
