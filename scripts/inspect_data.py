#!/usr/bin/env python3
"""What is in a data set, and what is suspicious: `sad.commands.inspect`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("inspect")
