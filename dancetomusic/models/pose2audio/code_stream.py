"""Codes sampled without end: one window plays, and the next reads along before it takes over.

The decoder was trained on windows of a few seconds. The next window begins while the last one plays
and is given the codes that are played, one by one; when the last one is full it continues from
there. So no step costs more than two, and there is no seam: a window has the context that it would
have had from ``TokenDecoder.generate`` with a prefix.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from dancetomusic.errors import CheckpointError
from dancetomusic.models.pose2audio.network import DEFAULT_SAMPLING
from dancetomusic.models.pose2audio.onnx_decoder import OnnxTokenDecoder
from dancetomusic.models.pose2audio.token_decoder import DecodingState, Step, TokenDecoder
from dancetomusic.nn.sampling import SamplingConfig, classifier_free_guidance, sample

CONTEXT_S = 2
"""How long a window reads along before it plays."""


class CodeStream:
    """Samples codes frame by frame on a predicted rhythm, beside a pose memory that grows.

    Args:
        decoder: Causal, on the CPU, with the delay pattern.
        style: Number as ``TokenDecoderConfig.style_index`` gives it.
        sampling: How codes are sampled.
        seed: The same seed, rhythm and memory give the same codes.
        weight_bits: Of the weights in ONNX Runtime, where that is installed: 8 halves the time
            of a step, 32 gives the codes of PyTorch.

    Raises:
        CheckpointError: If the decoder sees ahead or writes in another order.
    """

    def __init__(
        self,
        decoder: TokenDecoder,
        *,
        style: int = 0,
        sampling: SamplingConfig = DEFAULT_SAMPLING,
        seed: int = 0,
        weight_bits: int = 8,
    ) -> None:
        config = decoder.config
        if not config.causal or config.pattern != "delay":
            raise CheckpointError(
                "the token decoder cannot write on a stream",
                "Name a causal checkpoint with the delay pattern, as pose2audio_causal.",
            )
        self._decoder = decoder
        self._sampling = sampling
        self._style = torch.tensor([style])
        with torch.inference_mode():
            silence = torch.zeros(1, config.rhythm_span, config.rhythm_features)
            self._unconditional = decoder.embed_rhythm(silence)[:, self.reach : self.reach + 1]
        self._generator = torch.Generator().manual_seed(seed)
        self._stepper = OnnxTokenDecoder(decoder, weight_bits=weight_bits).stepper
        self._length = round(config.window_s * config.frame_rate)
        self._context = round(CONTEXT_S * config.frame_rate)
        self._windows = [decoder.start_live(self._length) for _ in range(2)]
        self._simple = False
        self._unguided: set[int] = set()  # windows, by identity, whose first row is out of date
        self.reset()

    @property
    def reach(self) -> int:
        """Frames of rhythm known before, and predicted after, those that are written."""
        return self._decoder.config.rhythm_span // 2

    @property
    def n_codebooks(self) -> int:
        """Codebooks written."""
        return self._decoder.config.n_codebooks

    @property
    def lag(self) -> int:
        """Frames that the last one finished is behind the last one begun."""
        return self._decoder.config.n_codebooks - 1

    def reset(self) -> None:
        """Begin another piece; the noise continues."""
        config = self._decoder.config
        self._playing, self._next = self._windows
        self._restart(self._playing)
        self._begun = 0
        self._column = torch.full((1, config.n_codebooks), config.empty)
        self._unfinished = np.zeros((config.n_codebooks, 0), np.int64)

    def simplify(self, simple: bool) -> None:
        """Sample without guidance from the next frame on, or with it again from a new window on."""
        self._simple = simple
        if simple:
            self._unguided = {id(window) for window in self._windows}

    @torch.inference_mode()
    def remember(self, memory: Float32[np.ndarray, " channels"], frames_ago: float) -> None:
        """Take a position of the pose memory.

        Args:
            memory: From the pose encoder.
            frames_ago: How long before the next frame it began, in code frames.
        """
        for window in self._in_use():
            began = window.position - frames_ago
            self._decoder.remember(window, torch.from_numpy(memory), began)

    @torch.inference_mode()
    def write(
        self, rhythm: Float32[np.ndarray, "frames features"]
    ) -> Int64[np.ndarray, "codebooks finished"]:
        """Sample the next frames, and return those finished by it, ``lag`` behind.

        Args:
            rhythm: Rhythm features of the new frames, with ``reach`` more on either side.
        """
        rows = self._embed(rhythm)
        columns: list[np.ndarray] = []
        steps: dict[int, Step] = {}
        for number in range(rows.shape[1]):
            self._take_over()
            logits = None
            for window in reversed(self._in_use()):  # the one that plays comes last
                if id(window) not in steps:
                    window.set_rhythm(rows[:, number:])
                    steps[id(window)] = self._step_of(window)
                logits = steps[id(window)](self._column_for(window))
            assert logits is not None
            self._column = self._sample(logits)
            columns.append(self._column[0].numpy())
        return self._finish(np.stack(columns, axis=1))

    def _in_use(self) -> list[DecodingState]:
        """The window that plays, and the next one if it reads along."""
        reads_along = self._playing.position >= self._length - self._context
        return [self._playing, self._next] if reads_along else [self._playing]

    def _take_over(self) -> None:
        """Start the next window, or change windows, where it is time."""
        if self._playing.position == self._length:
            self._playing, self._next = self._next, self._playing
        elif self._playing.position == self._length - self._context:
            self._restart(self._next)

    def _restart(self, window: DecodingState) -> None:
        window.restart()
        if not self._simple:
            self._unguided.discard(id(window))

    def _step_of(self, window: DecodingState) -> Step:
        """A step of both rows, or of the conditional one."""
        if id(window) not in self._unguided:
            return self._stepper(window)
        row = window.conditional_row()
        step = self._stepper(row)

        def step_row(column: Tensor) -> Tensor:
            logits = step(column[1:])
            for cache in window.caches:
                cache.length += 1
            return logits

        return step_row

    def _column_for(self, window: DecodingState) -> Tensor:
        """The column read next, for both rows; codes of frames before the window are unknown."""
        before = torch.arange(self.n_codebooks) >= window.position
        return self._column.masked_fill(before, self._decoder.config.empty).expand(2, -1)

    def _embed(self, rhythm: Float32[np.ndarray, "frames features"]) -> Tensor:
        """What is added at each step, [2, frames, d_model]: row 0 is unconditional."""
        embedded = self._decoder.embed_rhythm(torch.from_numpy(rhythm[None]), self._style)
        given = embedded[:, self.reach : rhythm.shape[0] - self.reach]
        return torch.cat([self._unconditional.expand_as(given), given])

    def _sample(self, logits: Tensor) -> Tensor:
        if logits.shape[0] == 2:
            uncond, cond = logits.chunk(2)
            logits = classifier_free_guidance(uncond, cond, self._sampling.cfg_scale)
        column = sample(logits, self._sampling, generator=self._generator)
        column[:, self._begun + 1 :] = self._decoder.config.empty
        self._begun += 1
        return column

    def _finish(
        self, columns: Int64[np.ndarray, "codebooks steps"]
    ) -> Int64[np.ndarray, "codebooks finished"]:
        """Bring the codebooks of each frame together; frames that still lack one are kept."""
        held = np.concatenate([self._unfinished, columns], axis=1)
        n_done = held.shape[1] - self.lag
        self._unfinished = held[:, max(0, n_done) :]
        finished = np.stack([held[k, k : k + n_done] for k in range(self.n_codebooks)])
        return finished[:, finished[-1] < self._decoder.config.codebook_size]
