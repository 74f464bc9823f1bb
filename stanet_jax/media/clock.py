"""One clock for a file that was joined of several recordings, whose own clocks start anew or jump.

Broadcasts, joined transport streams and segments of HLS have such splices. FFmpeg's tool goes on with one clock there, and so does `Clock`,
but that film and sound, whose packets are interleaved, may reach a splice one after the other.
"""
import av
from av.container import InputContainer

FALL = 0.1  # seconds that a stream's time falls back by at a splice; less is jitter
# Seconds that it jumps ahead by, in formats that are joined as they are, and in others, where a picture may stay for minutes.
JUMP, LONG_JUMP = 10.0, 1800.0


def may_be_joined(container: InputContainer) -> bool:
    """Whether the format of an open file is one that is joined as it is, as broadcasts are."""
    return bool(int(container.format.flags) & av.format.Flags.ts_discont.value)  # type: ignore[operator]


class Clock:
    """Gives the packets of a file, in the file's order, times that go on where recordings were joined.

    Times of one recording are shifted alike, whatever the stream, so that film and sound stay in step.
    """

    def __init__(self, container: InputContainer):
        """A clock for the packets of an open file from its beginning on."""
        self._jump = JUMP if may_be_joined(container) else LONG_JUMP
        self._shifts = [0.0]  # of each recording, in seconds
        self._recording: dict[int, int] = {}  # which one each stream is in
        self._starts: dict[int, float] = {}  # of each stream's last packet
        self._steps: dict[int, float] = {}  # between its last two packets
        self._ends: dict[int, float] = {}

    @property
    def spliced(self) -> bool:
        """Whether a splice was met."""
        return len(self._shifts) > 1

    def set_times(self, packet: av.Packet) -> None:
        """Shifts the times of the next packet of the file."""
        stream = packet.stream.index
        tick = float(packet.time_base)  # type: ignore[arg-type]  # every packet of a file has one
        if packet.dts is not None:
            self._choose_recording(stream, packet.dts * tick)
        shift = round(self._shifts[self._recording.get(stream, -1)] / tick)
        if shift:
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        if packet.dts is not None:
            start = packet.dts * tick
            self._steps[stream] = start - self._starts.get(stream, start)
            self._starts[stream] = start
            length = (packet.duration or 0) * tick or self._steps[stream]
            self._ends[stream] = max(self._ends.get(stream, start), start + length)

    def _choose_recording(self, stream, time):
        """Finds the recording that a packet of this time belongs to: that of its stream, a later one, or a new one."""
        now = max(self._ends.values(), default=time)
        if stream not in self._recording:
            self._recording[stream] = len(self._shifts) - 1
        own = self._recording[stream]
        # Another stream may be in a later recording already; this one follows when its times are those of that recording.
        chosen = min(range(own, len(self._shifts)), key=lambda k: abs(time + self._shifts[k] - now))
        start = time + self._shifts[chosen]
        if start < self._starts.get(stream, start) - FALL and chosen == own or start > now + self._jump:
            self._shifts.append(now - time)
            chosen = len(self._shifts) - 1
        elif chosen > own:  # film or sound came first; this one is not to begin before it has ended
            self._shifts[chosen] += max(0.0, self._ends.get(stream, start) - start)
        self._recording[stream] = chosen
