"""The commands: arguments, and the calls they lead to.

Each module is one command. Its docstring is the command's help, of which the first line stands in
`sad --help`; `add_arguments(parser)` says what may be given, and `run(args)` does it. `sad_command`
lists the modules and starts them, for `sad NAME` and for the scripts.
"""
