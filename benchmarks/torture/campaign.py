"""What all campaigns share: their seed, their folder, and how what fails is kept."""
import dataclasses
import pathlib
import re
import shutil
import zlib
from collections.abc import Iterable, Sequence

import numpy as np


@dataclasses.dataclass
class Campaign:
    """A campaign that goes on.

    Attributes:
        name: a key of `__main__.CAMPAIGNS`.
        seed: of all that is drawn.
        quick: whether the short form is wanted.
        work: an empty folder to work in.
        shared: a folder of all campaigns, for what they have in common.
        keep: the folder of reproductions, in which each fault gets one of its own.
        faults: what failed, a line each.
    """
    name: str
    seed: int
    quick: bool
    work: pathlib.Path
    shared: pathlib.Path
    keep: pathlib.Path
    faults: list[str] = dataclasses.field(default_factory=list)

    def generator(self, *key: int | str) -> np.random.Generator:
        """The generator of a trial."""
        return np.random.default_rng([self.seed, *(zlib.crc32(str(of).encode()) for of in (self.name, *key))])

    def fault(self, what: str, reproduction: Sequence[str] | str, files: Iterable[pathlib.Path] = ()) -> None:
        """Notes what failed and keeps what is needed to see it again: the command or call, and the input files."""
        folder = self.keep / self.name / f'{len(self.faults):03d}'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        given = reproduction if isinstance(reproduction, str) else ' '.join(reproduction)
        form = ' --quick' * self.quick
        (folder / 'README').write_text(f'{what}\n\npython -m benchmarks.torture{form} --only={self.name} --seed={self.seed}\n\n{given}\n',
                                       'utf-8', 'backslashreplace')
        for path in filter(pathlib.Path.exists, files):
            shutil.copytree(path, folder / path.name, symlinks=True) if path.is_dir() else shutil.copy(path, folder)
        self.faults.append(what)
        print(f'{self.name}: FAULT {what}; kept in {folder}', flush=True)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The line of a campaign.

    Attributes:
        what: was done, in words.
        count: how many trials there were.
        result: what came out, in words.
    """
    what: str
    count: int
    result: str


def error_lines(text: str) -> list[str]:
    """The lines of a command's standard error without progress bars."""
    lines = re.split(r'[\r\n]+', text)
    return [line for line in lines if line.strip() and not re.search(r'\d+%\||it/s|\d/s[,\] ]|s/\w+\]|\?\w*/s|\d+/\d+ clips', line)]


def is_one_line(text: str) -> bool:
    """Whether a command that failed said so as it should: an `error:` line at its end, and no traceback."""
    lines = error_lines(text)
    return bool(lines) and lines[-1].startswith('error: ') and not any('Traceback' in line or line.startswith('  File ') for line in lines)
