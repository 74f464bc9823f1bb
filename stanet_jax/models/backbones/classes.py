"""The classes of the encoders that pip brings: their names, which image classes make a sound, which sound classes a tag means.

The tables are `imagenet.csv` and `audioset.csv` beside this file; their heads say where they come from.
"""
import csv
import functools
import importlib.resources
import re
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool

IRREGULAR = {'children': 'child', 'feet': 'foot', 'geese': 'goose', 'knives': 'knife', 'leaves': 'leaf', 'men': 'man', 'mice': 'mouse',
             'oxen': 'ox', 'people': 'person', 'persons': 'person', 'teeth': 'tooth', 'wolves': 'wolf', 'women': 'woman'}
APART = {'bowling', 'bugling', 'crowing', 'firing', 'flying', 'planing', 'training', 'trumpeting'}  # no bowl, bugle, crow, fire ...
SMALL = {'a', 'an', 'and', 'at', 'by', 'etc', 'for', 'in', 'of', 'on', 'or', 'the', 'to', 'with'}
BESIDE = {'driving', 'making', 'noise', 'noises', 'playing', 'running', 'sound', 'sounds', 'using'}  # say little beside what is played

Phrase = tuple[str, ...]


def image_classes() -> tuple[str, ...]:
    """Gives the names of ImageNet's 1000 classes, in the order of the logits of encoders that were trained on it."""
    return tuple(row['name'] for row in _rows('imagenet.csv'))


def sound_classes() -> tuple[str, ...]:
    """Gives the names of the 521 classes of `yamnet`, AudioSet's, in the order of its logits."""
    return tuple(row['name'] for row in _rows('audioset.csv'))


def seen_when_heard() -> Bool[np.ndarray, '521 1000']:
    """Says which image classes make a sound: of `sound_classes()` the rows, of `image_classes()` the columns.

    A row without True is a sound whose maker ImageNet does not have, or that has none, as silence.
    """
    seen = np.zeros((len(sound_classes()), len(image_classes())), bool)
    for row, known in zip(seen, _rows('audioset.csv'), strict=True):
        for part in filter(None, known['seen'].split(';')):
            first, _, last = part.partition('-')
            row[int(first):int(last or first) + 1] = True
    return seen


def heard_as(tags: Sequence[str]) -> Bool[np.ndarray, 'c 521']:
    """Says which sound classes stand for each tag; a row without True is a tag that no class fits.

    A class has phrases: what commas separate in its name, with and without what is in parentheses, and those of the column `tags`. Words
    are compared without case, plural, "-ing" and final "e": "chirping" is "chirp", "puppies" are "puppy". Of a tag:

    1. If the whole of it is a phrase, the classes that have this phrase stand for it: "animals", "Rock and roll", "Whimper (dog)".
    2. Else the classes of all its parts between commas, semicolons, slashes, "&", "and" and "or" do. What is in parentheses is left out.
       A part is a phrase, or becomes one without "playing", "sound" and the like; or it is cut from left to right into its longest runs
       of words that are phrases, and the classes that have most of these stand for it: "dog barking" is Bark, Yip and Bow-wow, but not
       Howl, which has "dog" alone. Words in no phrase are passed over.
    """
    phrases = _phrases()
    found = np.zeros((len(tags), len(sound_classes())), bool)
    for row, tag in zip(found, tags, strict=True):
        whole = phrases.get(_phrase(_words(tag)))
        parts = re.split(r'[,;/&]|\band\b|\bor\b', re.sub(r'\(.*?\)', ' ', _spaced(tag)))
        for classes in [whole] if whole else [_classes_of(part) for part in parts]:
            row[list(classes)] = True
    return found


@functools.cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    lines = (importlib.resources.files(__package__) / name).read_text('utf-8').splitlines()
    return tuple(csv.DictReader(line for line in lines if not line.startswith('#')))


def _spaced(text: str) -> str:
    """Words as "PlayingGuitar" and "playing_guitar" apart, in lower case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_|'s\b", ' ', text).lower()


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r'\w+', _spaced(text)) if word not in SMALL]


def _stem(word: str) -> str:
    """Takes the plural and "-ing" off a word, and what they change at its end: not always a word, but the same for all its forms."""
    word = IRREGULAR.get(word, word)
    if word.endswith('ies') and len(word) > 4:
        word = word[:-3] + 'y'
    elif word.endswith('s') and not word.endswith(('ss', 'us', 'is')) and len(word) > 3:
        word = word[:-1]
    if word.endswith('ing') and word not in APART and len(word) > 5 and re.search('[aeiouy]', word[:-3]):
        word = word[:-3]
    if word.endswith('e') and len(word) > 3:
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in 'aeiou' else word


def _phrase(words: Iterable[str]) -> Phrase:
    return tuple(map(_stem, words))


@functools.cache
def _phrases() -> dict[Phrase, frozenset[int]]:
    """All phrases, each with the classes that have it."""
    found: dict[Phrase, set[int]] = {}
    for k, row in enumerate(_rows('audioset.csv')):
        bare = re.sub(r'\(.*?\)', ' ', row['name'])
        for text in (*re.split(r',(?![^(]*\))', row['name']), *bare.split(','), *row['tags'].split(';')):
            if phrase := _phrase(_words(text)):
                found.setdefault(phrase, set()).add(k)
    return {phrase: frozenset(classes) for phrase, classes in found.items()}


def _classes_of(part: str) -> frozenset[int]:
    """The classes of a tag's part, none where no run of its words is a phrase."""
    phrases, words = _phrases(), _words(part)
    left = _phrase(words)
    if left not in phrases:
        left = _phrase(word for word in words if word not in BESIDE)
    runs: list[frozenset[int]] = []
    while left:
        length = next((n for n in range(len(left), 0, -1) if left[:n] in phrases), 0)
        runs += [phrases[left[:length]]] if length else []
        left = left[max(length, 1):]
    count = {k: sum(k in run for run in runs) for run in runs for k in run}
    return frozenset(k for k, n in count.items() if n == max(count.values()))
