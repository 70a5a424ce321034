#!/usr/bin/env python3
"""Train or evaluate a detector, alone or as the student of a teacher: `sad.commands.train`.

python projects/SAD/train_net.py --config-file configs/digits/SAD.yaml --num-gpus 1 [KEY VALUE ...]
"""

import sad_command

if __name__ == "__main__":
    sad_command.run("train")
