#!/usr/bin/env python3
"""From labels and images to a distilled student: `sad.commands.distill`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("distill")
