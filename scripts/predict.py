#!/usr/bin/env python3
"""Let trained detectors find objects: `sad.commands.predict`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("predict")
