#!/usr/bin/env python3
"""What a teacher's boxes are worth: `sad.commands.calibrate`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("calibrate")
