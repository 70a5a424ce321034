"""Types of command line arguments that argparse does not have."""

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
