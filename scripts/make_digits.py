"""Write the digit scenes: `sad.commands.digits`."""

import sad_command

if __name__ == "__main__":
    sad_command.run("digits")
