"""Make starting weights, and weights that can hold no code: `sad.commands.weights`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("weights")
