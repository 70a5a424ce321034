#!/usr/bin/env python3
"""Write a trained detector for other programs: `sad.commands.export`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("export")
