#!/usr/bin/env python3
"""Writes src/vad/smart_turn/fixture.json: what the Smart Turn features and probabilities must be.

The features are those of Whisper's feature extractor with an 8 s window, written here from their definition in double
precision, and the probabilities are onnxruntime's own. The model is int8 with dynamic quantisation, which magnifies the last bits of its input:
besides each probability stand the lowest and the highest that features changed by a millionth give. Run it in an environment
with numpy and onnxruntime:

    AVATAR_MODELS=data/models python models/scripts/smart_turn_fixture.py
"""

import json
import os
import pathlib
import wave

import numpy as np
import onnxruntime

RATE = 16_000
SAMPLES = 8 * RATE
FFT, HOP, MELS = 400, 160, 80


def mel(hertz):
    """Slaney's scale: linear to 1 kHz, logarithmic above."""
    hertz = np.asarray(hertz, dtype=np.float64)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4))


def hertz(mels):
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((np.maximum(mels, 15) - 15) * np.log(6.4) / 27))


def filters():
    edges = hertz(np.linspace(mel(0), mel(RATE / 2), MELS + 2))
    bins = np.linspace(0, RATE / 2, FFT // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangle = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.maximum(0, triangle) * 2 / (high - low)


def features(audio):
    audio = np.asarray(audio, dtype=np.float32)[-SAMPLES:]
    audio = np.concatenate([np.zeros(SAMPLES - len(audio), np.float32), audio])
    audio = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    padded = np.pad(audio.astype(np.float64), FFT // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    frames = np.stack([padded[start : start + FFT] * hann for start in range(0, SAMPLES, HOP)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    log = np.log10(np.maximum(1e-10, filters() @ power.T))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)


def chirp(seconds):
    """100 Hz rising by 800 Hz a second, swelling and fading twice a second."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * (100 * time + 400 * time**2)) * np.sin(2 * np.pi * time) ** 2).astype(np.float32)


def recording(path, seconds):
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE
        samples = np.frombuffer(file.readframes(int(seconds * RATE)), np.int16)
    return samples.astype(np.float32) / 32768


def main():
    here = pathlib.Path(__file__).resolve().parent
    models = pathlib.Path(os.environ.get("AVATAR_MODELS", here / "../../data/models"))
    session = onnxruntime.InferenceSession(str(models / "smart-turn-v3/smart-turn-v3.2-cpu.onnx"))

    random = np.random.default_rng(0)

    def judge(spectrogram):
        return float(session.run(None, {"input_features": spectrogram[None].astype(np.float32)})[0][0, 0])

    def probabilities(audio):
        exact = features(audio)
        near = [judge(exact + 1e-6 * random.standard_normal(exact.shape)) for _ in range(12)]
        return [round(value, 5) for value in (judge(exact), min(near), max(near))]

    every = 97
    clips = [("chirp", 3.0), ("chirp", 9.5)]
    clips += [("beckett", seconds) for seconds in (0.9, 1.6, 2.4, 3.2, 4.2, 5.0, 9.9)]
    clips += [("clone-test", seconds) for seconds in (0.8, 1.5, 2.5, 4.1)]
    fixture = {"every": every, "features": {}, "probabilities": []}
    for name, seconds in clips:
        audio = chirp(seconds) if name == "chirp" else recording(models / f"speech-samples/{name}.wav", seconds)
        if name == "chirp":
            values = features(audio).ravel()[::every]
            fixture["features"][str(seconds)] = [round(float(value), 5) for value in values]
        fixture["probabilities"].append([name, seconds, *probabilities(audio)])
    (here / "../src/vad/smart_turn/fixture.json").write_text(json.dumps(fixture) + "\n")
    for row in fixture["probabilities"]:
        print(*row)


if __name__ == "__main__":
    main()
