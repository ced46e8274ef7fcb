"""Pictures logged during training: spectrograms, and dancers above their estimated beats."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, UInt8

from dancetomusic.pose.draw import draw_skeleton
from dancetomusic.types import Waveform

PIXELS_PER_S = 100
BEAT_COLOUR = (255, 255, 255)
PROBABILITY_COLOUR = (56, 189, 248)
BACKGROUND = 24


def draw_spectrogram(
    sound: Waveform, beats: Float[np.ndarray, " beats"], *, n_mels: int = 128
) -> UInt8[np.ndarray, "height width 3"]:
    """Log-mel spectrogram over 80 dB, low tones below, a white line at each beat.

    Channels are mixed; the height is ``n_mels`` pixels.
    """
    import cv2
    import torch

    from dancetomusic.codec.spectral import mel_filters

    samples = torch.from_numpy(sound.to_mono().samples[0])
    n_fft, hop = 2048, round(sound.sample_rate / PIXELS_PER_S)
    spectrum = torch.stft(
        torch.nn.functional.pad(samples, (0, max(0, n_fft - len(samples)))), n_fft, hop,
        window=torch.hann_window(n_fft), return_complex=True,
    )  # fmt: skip
    mel = mel_filters(sound.sample_rate, n_fft, n_mels) @ spectrum.abs()
    decibels = 20 * torch.log10(mel.clamp_min(1e-6))
    level = ((decibels - decibels.max()) / 80 + 1).clamp(0, 1).flip(0).numpy()
    grey = np.ascontiguousarray((level * 255).astype(np.uint8))
    picture = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    for beat in beats:
        column = round(float(beat) * PIXELS_PER_S)
        if 0 <= column < picture.shape[1]:
            picture[:, column] = BEAT_COLOUR
    return picture


def draw_rhythm(
    world: Float32[np.ndarray, "frames 33 3"],
    fps: float,
    probability: Float[np.ndarray, " curve"],
    frame_rate: float,
    beats: Float[np.ndarray, " beats"],
    *,
    n_dancers: int = 12,
) -> UInt8[np.ndarray, "height width 3"]:
    """The dancer at even times, above the beat probability with a line at each true beat.

    The dancer is drawn ``n_dancers`` times.
    """
    import cv2

    duration_s = len(world) / fps
    width = max(round(duration_s * PIXELS_PER_S), n_dancers * 40)
    cell, curve = width // n_dancers, 100
    strip = np.full((cell * 3 // 2, width, 3), BACKGROUND, np.uint8)
    for number in range(n_dancers):
        pose = world[min(int((number + 0.5) / n_dancers * len(world)), len(world) - 1)]
        shares = np.zeros((33, 3), np.float32)
        shares[:, :2] = (pose[:, :2] - pose[[23, 24], :2].mean(0)) / (2.4, 3.0) + (0.5, 0.45)
        left = number * cell
        strip[:, left : left + cell] = draw_skeleton(strip[:, left : left + cell], shares)
    plot = np.full((curve, width, 3), BACKGROUND, np.uint8)
    for beat in beats:
        column = round(float(beat) / duration_s * width)
        if 0 <= column < width:
            plot[:, column] = BEAT_COLOUR
    if len(probability) > 1:
        x = np.arange(len(probability)) / frame_rate / duration_s * width
        y = (1 - np.clip(probability, 0, 1)) * (curve - 3) + 1
        points = np.stack([x, y], axis=1).round().astype(np.int32)[:, None]
        cv2.polylines(plot, [points], False, PROBABILITY_COLOUR, 1, cv2.LINE_AA)
    return np.concatenate([strip, plot])
