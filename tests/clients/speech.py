"""What a caller says, and how texts and sounds are compared.

Phrases are cut by time from recordings, as `tests/speech/utterances.json` lists them.
"""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soxr

ROOT = Path(__file__).resolve().parents[2]
MODELS = Path(os.environ.get("AVATAR_MODELS", ROOT / "data" / "models")).resolve()
# Recordings that may lie beside the repository; nothing needs them.
BESIDE = ROOT.parent / "shared" / "speech"
# Of everything that goes into a call or comes out of it.
RATE = 48_000
FADE_SECONDS = 0.01

CATALOGUE = json.loads((ROOT / "tests" / "speech" / "utterances.json").read_text())


class Phrase(NamedTuple):
    id: str
    text: str
    pcm: np.ndarray
    """Mono, float, `RATE`."""


def phrase(id: str) -> Phrase:
    """The phrase with this id; fails when its recording is missing."""
    for folder, entries in ((MODELS / "speech-samples", CATALOGUE["recordings"]), (BESIDE, CATALOGUE["optional"])):
        for entry in entries:
            if entry["id"] == id:
                path = folder / entry["file"]
                if not path.exists():
                    raise FileNotFoundError(f"{path} is missing; run `make models`")
                return Phrase(id, entry["text"], _cut(path, entry["start"], entry["end"]))
    raise KeyError(f"there is no phrase {id}")


def phrases(*ids: str) -> list[Phrase]:
    return [phrase(id) for id in ids]


def optional() -> tuple[str, ...]:
    """Ids of the phrases whose recordings lie beside the repository."""
    return tuple(entry["id"] for entry in CATALOGUE["optional"] if (BESIDE / entry["file"]).exists())


def _cut(path: Path, start: float, end: float) -> np.ndarray:
    samples, rate = decode(path)
    piece = soxr.resample(samples[round(start * rate) : round(end * rate)], rate, RATE)
    ramp = np.linspace(0, 1, round(FADE_SECONDS * RATE), dtype=np.float32)
    piece[: len(ramp)] *= ramp
    piece[-len(ramp) :] *= ramp[::-1]
    return piece


def decode(source) -> tuple[np.ndarray, int]:
    """Any sound file (a path or an open file) as mono floats, and its sample rate."""
    with av.open(str(source) if isinstance(source, Path) else source) as container:
        rate = container.streams.audio[0].rate
        mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
        frames = [part for frame in container.decode(audio=0) for part in mono.resample(frame)]
        frames += mono.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), rate


def bandwidth(pcm: np.ndarray, rate: int, below_peak: float = 55.0) -> float:
    """Highest frequency, Hz, at which the long-term spectrum is at most so many dB below its strongest point."""
    size = round(rate * 0.02)
    frames = pcm[: len(pcm) // size * size].reshape(-1, size) * np.hanning(size)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).mean(axis=0)
    return np.flatnonzero(power >= power.max() * 10 ** (-below_peak / 10))[-1] * rate / size


def write_wav(path: Path, pcm: np.ndarray, rate: int = RATE) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(to_int16(pcm)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def to_int16(pcm: np.ndarray) -> np.ndarray:
    return np.clip(np.round(pcm * 32767), -32768, 32767).astype(np.int16)


ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()


def words(text: str) -> list[str]:
    """The words of a text as they are spoken: lower case, no punctuation, numbers written out."""
    text = text.lower().replace("’", "'").replace("‘", "'").replace("%", " percent ").replace("&", " and ")
    text = re.sub(r"(\d),(?=\d{3}\b)", r"\1", text)
    text = re.sub(r"\d+", lambda digits: f" {_spoken(int(digits[0]))} ", text)
    text = re.sub(r"[^\w' ]|_", " ", text)
    return [word for word in (part.strip("'") for part in text.split()) if word]


def _spoken(number: int) -> str:
    def rest(remainder: int) -> str:
        return f" {_spoken(remainder)}" if remainder else ""

    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + rest(number % 10)
    if number < 1_000:
        return f"{ONES[number // 100]} hundred{rest(number % 100)}"
    if number < 1_000_000:
        return f"{_spoken(number // 1_000)} thousand{rest(number % 1_000)}"
    return " ".join(ONES[int(digit)] for digit in str(number))


def errors(said: str, heard: str) -> int:
    """Fewest words to put in, leave out or change to make `heard` of `said`."""
    other = words(heard)
    row = list(range(len(other) + 1))
    for i, word in enumerate(words(said), 1):
        previous, row = row, [i]
        for j, candidate in enumerate(other):
            row.append(min(previous[j] + (word != candidate), previous[j + 1] + 1, row[j] + 1))
    return row[-1]


def error_rate(pairs: list[tuple[str, str]]) -> float:
    """Word-error rate over all pairs of (said, heard) together."""
    return sum(errors(said, heard) for said, heard in pairs) / sum(len(words(said)) for said, _ in pairs)
