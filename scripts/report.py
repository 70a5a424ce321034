#!/usr/bin/env python3
"""Compare finished runs: `sad.commands.report`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("report")
