"""Let a trained teacher write pseudo-labels for unlabelled images: `sad.commands.label`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("label")
