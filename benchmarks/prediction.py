"""The speed and the memory of predicting videos by one student and by three.

    python -m benchmarks.prediction --checkpoint=runs/demo/sta_plus --minutes 1 10
    python -m benchmarks.prediction --checkpoint=default --minutes 1 --size 640 360

Makes videos of moving noise with sound, 160x120 pixels at 25 frames per second, and predicts each by STA alone and, of a run that has
them, by the three students, with maps and overlay written as `predict.py` does, and once more with nothing written. Prints frames per
second of both, their ratio to STA alone, how many frames went through the encoders, and the process's peak memory after each video.
"""
import argparse
import pathlib
import resource
import tempfile
import time

import av
import numpy as np

from stanet_jax.inference import predictor, videos

FPS, RATE = 25, 16000


def write_video(path, seconds, size=(160, 120)):
    """Writes a video of moving noise, (width, height) pixels, with sound."""
    rng, (width, height) = np.random.default_rng(0), size
    noise = np.kron(rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8), np.ones((4, 4, 1), np.uint8))[:height, :width]
    with av.open(str(path), 'w') as container:
        picture = container.add_stream('libx264', rate=FPS, pix_fmt='yuv420p', options={'preset': 'ultrafast'})
        picture.width, picture.height = size
        sound = container.add_stream('aac', rate=RATE, layout='mono')
        for k in range(int(seconds * FPS)):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.roll(noise, 3 * k, axis=1), format='rgb24')))
            frame = av.AudioFrame.from_ndarray(np.float32(rng.normal(0, 0.1, (1, RATE // FPS))), format='fltp', layout='mono')
            frame.sample_rate, frame.pts = RATE, k * (RATE // FPS)
            container.mux(sound.encode(frame))
        container.mux(picture.encode())
        container.mux(sound.encode())


def counted(students):
    """A list that gets the number of frames of each block that goes through the students' encoders, without padding."""
    counts, encoded = [], students._encoded
    students._encoded = lambda block, size: counts.append(len(block)) or encoded(block, size)
    return counts


def unwritten(students, video):
    """The number of frames of a video whose maps are computed, and not written."""
    return sum(len(maps) for _, maps in videos.predict_blocks(students, video, FPS))


def main():
    """Measures both for each length and prints a table."""
    parser = argparse.ArgumentParser(description='Measures prediction by one student and by three.')
    parser.add_argument('--checkpoint', type=pathlib.Path, default=pathlib.Path('runs/demo/sta_plus'),
                        help='run of configs/sta_plus.py or of configs/sta.py; or default, the packaged student')
    parser.add_argument('--minutes', type=float, nargs='+', default=[1, 10])
    parser.add_argument('--size', type=int, nargs=2, default=[160, 120], help='width and height of the videos, even numbers')
    args = parser.parse_args()
    all_of_it = predictor.Predictor(args.checkpoint)
    sets = {'STA': all_of_it}
    if len(all_of_it.names) > 1:
        sets = {'STA': predictor.Predictor(args.checkpoint / 'STA'), 'three': all_of_it}
    counts = {name: counted(students) for name, students in sets.items()}
    lines = [f'{"video":>10}{"students":>10}{"frames":>8}{"encoded":>9}{"frames/s":>10}{"over STA":>10}'
             f'{"unwritten":>11}{"peak MB":>9}']
    with tempfile.TemporaryDirectory() as folder:
        warm = pathlib.Path(folder) / 'warm.mp4'
        write_video(warm, 4, args.size)
        for students in sets.values():
            videos.predict_video(students, warm, folder)
        for minutes in args.minutes:
            video = pathlib.Path(folder) / f'{minutes:g}_min.mp4'
            write_video(video, 60 * minutes, args.size)
            speed = {}
            for name, students in sets.items():
                counts[name].clear()
                start = time.perf_counter()
                frames = videos.predict_video(students, video, folder)
                speed[name] = frames / (time.perf_counter() - start)
                encoded, start = sum(counts[name]), time.perf_counter()
                alone = unwritten(students, video) / (time.perf_counter() - start)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                lines.append(f'{minutes:6g} min{name:>10}{frames:8}{encoded:9}{speed[name]:10.1f}'
                             f'{speed[name] / speed["STA"]:10.2f}{alone:11.1f}{peak:9.0f}')
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
