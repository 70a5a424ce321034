"""The commands: arguments, and the calls they lead to."""
