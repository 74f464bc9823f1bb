"""A box around FFmpeg: media files are demuxed and decoded in child processes, where one that crashes or hangs ends no more than itself.

`call` and `iterate` run a function of `stanet_jax.media`, whose first argument is a file, in a child. What it returns or yields comes
back pickled, through memory that both processes share. A child takes one file after the other and serves one thread; it is
replaced when it crashes, hangs, or is not read to the end, and ends with its parent. It imports neither JAX nor the caller's script.

The box is no sandbox: it has the rights of its parent.
"""
import atexit
import math
import mmap
import os
import pickle
import queue
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from typing import Any, ParamSpec, TypeVar

from stanet_jax import InputError

P = ParamSpec('P')
T = TypeVar('T')
TIMEOUT, SECONDS = 'STANET_DECODE_TIMEOUT', 60.0  # an environment variable, which workers of other processes inherit, and its default
AHEAD, ROOM = 16, 64 << 20  # how many items a child is ahead, and how many bytes these may have, but for two of any size
_PAGE = mmap.PAGESIZE  # of the memory, before the items; it holds the number of frames so far
_LARGEST = 8 << 30  # bytes of memory that a child may take
_START = 'import sys; sys.path[:] = sys.argv[3:]; from stanet_jax.media.box import serve; serve(int(sys.argv[1]), int(sys.argv[2]))'
_idle: dict[int, list['Box']] = {}  # children without work, by the process that started them, as a fork has the parent's


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Gives what a function of a media file returns, computed in a child process; errors as `iterate`."""
    result, = _run(function, args, kwargs)
    return result


def iterate(function: Callable[P, Iterator[T]], *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
    """Yields what a function of a media file yields, computed in a child process.

    Raises:
        InputError: as the function, or it raised any other error, crashed, or gave no frame for as long as `timeout` says; the message
            names the file, the first argument.
        OSError: as the function.
    """
    return _run(function, args, kwargs)


def start() -> None:
    """Starts a child, so that it is ready when it is needed."""
    _idle.setdefault(os.getpid(), []).append(Box())


def timeout() -> float:
    """How long a child may go on without a frame, in seconds: `STANET_DECODE_TIMEOUT` of the environment, or 60."""
    try:
        seconds = float(os.environ.get(TIMEOUT) or SECONDS)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f'{TIMEOUT}={os.environ[TIMEOUT]}: must be a number of seconds above 0')
    return seconds


def _run(function, args, kwargs):
    idle = _idle.setdefault(os.getpid(), [])
    while True:
        reused = bool(idle)
        box = idle.pop() if reused else Box()
        try:
            yield from box.run(function, args, kwargs)
            return
        except _Ended as error:
            if box.begun or not reused:
                raise InputError(f'{args[0]}: {error}') from None  # else something ended it while it was idle: another one does it
        finally:
            if box.free:
                idle.append(box)
            else:
                box.kill()


@atexit.register
def _end_idle():
    for box in _idle.pop(os.getpid(), []):
        box.kill()


class _Ended(Exception):
    """The child crashed or hung; says how."""


class Box:
    """A child process that runs functions for one thread of its parent.

    Attributes:
        free: whether it can be given work.
        begun: whether it has begun with the last work that it was given.
    """

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._memory = _Memory(_make_file())
        fds = theirs.fileno(), self._memory.file
        # A session of its own, as signals to the parent's are the parent's to answer.
        self._process = subprocess.Popen([sys.executable, '-c', _START, *map(str, fds), *sys.path], pass_fds=fds, start_new_session=True,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        theirs.close()
        self.free, self.begun = True, False

    def run(self, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Iterator[Any]:
        """Yields what a function yields, or the one thing that it returns."""
        self.free, self.begun, frames = False, False, self._memory.frames
        try:
            self._pipe.send((os.getcwd(), function, args, kwargs))
            while True:
                kind, content = self._receive()
                if kind == 'error':
                    self.free = True
                    raise content
                if kind == 'end':
                    break
                pickled, *arrays = self._memory.read(*content)
                item = pickle.loads(pickled, buffers=arrays)
                self._pipe.send_bytes(b'')  # its place can be used again
                yield item
        except (EOFError, ConnectionError):
            self.begun = self._memory.frames != frames
            raise _Ended(self._crash()) from None
        self.free = True

    def _receive(self):
        limit, frames, since = timeout(), -1, time.monotonic()
        while not self._pipe.poll(min(limit / 4, 1)):
            now, seen = time.monotonic(), self._memory.frames
            if seen != frames:
                frames, since = seen, now
            elif now - since > (limit if seen else max(limit, SECONDS)):  # before its first work a child imports what it needs
                self.begun = True
                raise _Ended(f'no frame of it for {limit:g} s; fetch or make it again, or give a longer --decode_timeout')
        return self._pipe.recv()

    def _crash(self):
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            code = 0
        if code > 0:
            return f'the process that decodes does not start (exit code {code}); install the package anew'
        return f'crashes the decoder ({signal.strsignal(-code) if code else "it left"}); fetch or make it again, or leave it out'

    def kill(self) -> None:
        """Ends the child."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._memory.close()


# ------------------------------------------------------------------------------------------------------------------ memory


def _make_file() -> int:
    """A file without a name, in memory where the system has that; gives its descriptor."""
    if hasattr(os, 'memfd_create'):
        return os.memfd_create('stanet_frames')
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class _Memory:
    """Memory that two processes share: the number of frames so far, and places for items.

    Attributes:
        file: its descriptor.
        room: the number of bytes that an item may have.
        places: for how many items there is room.
    """

    def __init__(self, file: int):
        self.file, self.room, self.places = file, 0, AHEAD
        if os.fstat(file).st_size == 0:
            os.ftruncate(file, _PAGE)
        self._map = mmap.mmap(file, 0)

    @property
    def frames(self) -> int:
        """The number of frames so far."""
        return struct.unpack_from('=Q', self._map)[0]

    def count_frame(self) -> None:
        """Adds a frame to the number."""
        struct.pack_into('=Q', self._map, 0, self.frames + 1)

    def grow(self, room: int) -> None:
        """Makes place for items of `room` bytes."""
        self.room = math.ceil(room / _PAGE) * _PAGE
        self.places = min(max(ROOM // self.room, 2), AHEAD)
        os.ftruncate(self.file, _PAGE + self.places * self.room)
        self._map.close()
        self._map = mmap.mmap(self.file, 0)

    def write(self, number: int, buffers: list[memoryview]) -> int:
        """Writes the parts of an item and gives the place."""
        place = start = _PAGE + number % self.places * self.room
        for buffer in buffers:
            self._map[start:start + buffer.nbytes] = buffer
            start += buffer.nbytes
        return place

    def read(self, place: int, sizes: list[int]) -> Iterator[bytearray]:
        """Yields the parts at a place."""
        if place + sum(sizes) > len(self._map):
            self._map.close()
            self._map = mmap.mmap(self.file, 0)
        with memoryview(self._map) as view:
            for size in sizes:
                yield bytearray(view[place:place + size])
                place += size

    def close(self) -> None:
        """Gives the memory back."""
        self._map.close()
        os.close(self.file)


# ------------------------------------------------------------------------------------------------------------------- child


def serve(pipe: int, file: int) -> None:
    """What a child does: it runs what comes through the pipe, until its parent is gone."""
    from stanet_jax.media import container, moments  # noqa: F401 - here, as the parent needs none of it to start a child
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, _LARGEST)
    connection, memory, jobs = Connection(pipe), _Memory(file), queue.SimpleQueue[Any]()
    container.on_progress.append(memory.count_frame)
    places: list[threading.Semaphore] = []
    threading.Thread(target=_listen, args=(connection, jobs, places), daemon=True).start()
    while True:
        folder, function, args, kwargs = jobs.get()
        memory.count_frame()
        os.chdir(folder)  # paths may be relative to where the parent is by now
        places[:] = [threading.Semaphore(memory.places)]
        try:
            result = function(*args, **kwargs)
            for number, item in enumerate(result if isinstance(result, Iterator) else [result]):
                places[0].acquire()
                _send(connection, memory, number, item, places[0])
        except Exception as error:  # the decoders raise whatever a damaged file makes them
            connection.send(('error', _as_told(error, args[0])))
        else:
            connection.send(('end', None))


def _limit(kind, most):
    hard = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    except (OSError, ValueError):
        pass  # a system without such a limit


def _listen(connection, jobs, places):
    """Takes what the parent sends: work, or that an item is read. It ends the process with the parent, even if the decoder hangs."""
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)
        if message:
            jobs.put(pickle.loads(message))
        else:
            places[0].release()


def _send(connection, memory, number, item, places):
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(item, 5, buffer_callback=arrays.append)
    views = [memoryview(pickled), *(array.raw() for array in arrays)]
    sizes = [view.nbytes for view in views]
    if sum(sizes) > memory.room:
        for _ in range(memory.places - 1):  # all others have to be read first
            places.acquire()
        memory.grow(sum(sizes) * 5 // 4)
        places.release(memory.places - 1)
    connection.send(('item', (memory.write(number, views), sizes)))


def _as_told(error, file):
    """An error as the parent raises it."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, error.filename)
    return InputError(f'{file}: cannot be decoded ({type(error).__name__}: {" ".join(str(error).split())[:200]}); fetch or make it again')
