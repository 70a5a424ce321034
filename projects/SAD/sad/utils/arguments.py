"""Types of command line arguments that argparse does not have, and those of several commands."""

import argparse
import math


def between(kind, least, most=math.inf):
    """An argparse type: an int or a float (`kind`) from `least` to `most`, both included."""

    def parse(text: str):
        value = kind(text)
        if not least <= value <= most or math.isinf(value):
            limit = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text} is given, it must be {limit}")
        return value

    parse.__name__ = kind.__name__  # argparse's `invalid int value`
    return parse


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `sad.engine.launch.start` reads, --timeout, and KEY VALUE pairs (`opts`) at the end.

    They are those of Detectron2's default_argument_parser, whose --dist-url is one port for all
    jobs of a user on a machine.
    """
    parser.add_argument("--num-gpus", type=int, default=1, help="processes; also without any GPU")
    parser.add_argument("--num-machines", type=int, default=1, help="each with --num-gpus")
    parser.add_argument("--machine-rank", type=int, default=0, help="number of this machine")
    parser.add_argument("--dist-url", default="auto", help="tcp://HOST:PORT of machine 0")
    parser.add_argument(
        "--timeout",
        type=between(float, 0.01, 1e6),
        default=30,
        metavar="MINUTES",
        help="how long a process waits for the others, what rank 0 does alone included (30)",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for the config")
