"""What is typed on the command line, read: numbers, and names with numbers."""

from __future__ import annotations

import argparse
import re


def sized(text: str) -> tuple[str, int]:
    """``d=2``."""
    name, mark, size = text.partition("=")
    if not (mark and name and re.fullmatch("0*[1-9][0-9]{0,8}", size)):
        raise argparse.ArgumentTypeError(f"'{text}': a name and a positive number, as in d=2")
    return name, int(size)


def whole_number(text: str) -> int:
    """``20``."""
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"'{text}': a whole number was expected")
    return int(text)


def positive(text: str) -> int:
    """``20``, from 1 on."""
    found = whole_number(text)
    if found < 1:
        raise argparse.ArgumentTypeError(f"'{text}': a positive whole number was expected")
    return found


def number(text: str) -> float:
    """``0.1``."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"'{text}': a number was expected")
    return float(text)
