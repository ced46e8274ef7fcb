"""Codes written without end: one window plays, and the next listens in before it takes over.

The decoder knows windows of six seconds. The next window begins while the last one plays, and is
given the codes that are played, one by one; when the last one is full it goes on from there. So
no step costs more than two, and there is no seam: a window has the context that it would have had
from ``TokenDecoder.generate`` with a prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from dancetomusic.errors import CheckpointError
from dancetomusic.models.pose2audio.long_form import WINDOW_S
from dancetomusic.models.pose2audio.network import DEFAULT_SAMPLING
from dancetomusic.models.pose2audio.onnx_decoder import OnnxTokenDecoder, onnx_available
from dancetomusic.models.pose2audio.token_decoder import DecodingState, Step, TokenDecoder
from dancetomusic.nn.positional import rotation_table
from dancetomusic.nn.sampling import SamplingConfig, classifier_free_guidance, sample
from dancetomusic.nn.transformer import DecoderBlock

CONTEXT_S = 2
"""How long a window listens before it plays."""


class CodeStream:
    """Writes codes frame by frame on a rhythm that is foretold, beside a memory that grows.

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
        nothing = torch.zeros(1, config.rhythm_span, config.rhythm_features)
        started = decoder.start(nothing, withheld=torch.tensor([True]))
        self._withheld = started.conditions.rhythm[:, self.reach : self.reach + 1]
        self._generator = torch.Generator().manual_seed(seed)
        self._stepper: Callable[[DecodingState], Step] = (
            OnnxTokenDecoder(decoder, weight_bits=weight_bits).stepper
            if onnx_available()
            else decoder.stepper
        )
        self._length = round(WINDOW_S * config.frame_rate)
        self._context = round(CONTEXT_S * config.frame_rate)
        self._windows = [_Window(decoder, self._length) for _ in range(2)]
        self.reset()

    @property
    def reach(self) -> int:
        """Frames of rhythm known before, and foretold after, those that are written."""
        return self._decoder.config.rhythm_span // 2

    @property
    def lag(self) -> int:
        """Frames that the last one finished is behind the last one begun."""
        return self._decoder.config.n_codebooks - 1

    def reset(self) -> None:
        """Begin another piece; the noise goes on."""
        config = self._decoder.config
        self._playing, self._listening = self._windows
        self._playing.begin()
        self._begun = 0
        self._column = torch.full((1, config.n_codebooks), config.empty)
        self._unfinished = np.zeros((config.n_codebooks, 0), np.int64)

    @torch.inference_mode()
    def remember(self, memory: Float32[np.ndarray, " channels"], frames_ago: float) -> None:
        """Take a position of the pose memory.

        Args:
            memory: From the pose encoder.
            frames_ago: How long before the next frame it began, in code frames.
        """
        decoder = self._decoder
        vector = decoder.memory_norm(decoder.memory_in(torch.from_numpy(memory)[None, None]))
        for window in self._in_use():
            window.remember(vector, frames_ago)

    @torch.inference_mode()
    def write(
        self, rhythm: Float32[np.ndarray, "frames features"]
    ) -> Int64[np.ndarray, "codebooks finished"]:
        """Write on, and give the frames that are finished by it, ``lag`` behind.

        Args:
            rhythm: Rhythm features of the new frames, with ``reach`` more on either side.
        """
        rows = self._embed(rhythm)
        count, columns = rows.shape[1], []
        steps: dict[int, Step] = {}
        for number in range(count):
            self._take_over()
            logits = None
            for window in reversed(self._in_use()):  # the one that plays comes last
                if id(window) not in steps:
                    window.foretell(rows[:, number:])
                    steps[id(window)] = self._stepper(window.state)
                logits = steps[id(window)](window.next_column(self._column))
            assert logits is not None
            self._column = self._draw(logits)
            columns.append(self._column[0].numpy())
        return self._finish(np.stack(columns, axis=1))

    def _in_use(self) -> list[_Window]:
        """The window that plays, and the one that listens if one does."""
        listens = self._playing.position >= self._length - self._context
        return [self._playing, self._listening] if listens else [self._playing]

    def _take_over(self) -> None:
        """Begin to listen, or change windows, where it is time."""
        if self._playing.position == self._length:
            self._playing, self._listening = self._listening, self._playing
        elif self._playing.position == self._length - self._context:
            self._listening.begin()

    def _embed(self, rhythm: Float32[np.ndarray, "frames features"]) -> Tensor:
        """What is added at each step: row 0 is that without conditions, the same always."""
        started = self._decoder.start(torch.from_numpy(rhythm[None]), style=self._style)
        given = started.conditions.rhythm[:, self.reach : rhythm.shape[0] - self.reach]
        return torch.cat([self._withheld.expand_as(given), given])

    def _draw(self, logits: Tensor) -> Tensor:
        uncond, cond = logits.chunk(2)
        guided = classifier_free_guidance(uncond, cond, self._sampling.cfg_scale)
        column = sample(guided, self._sampling, generator=self._generator)
        column[:, self._begun + 1 :] = self._decoder.config.empty
        self._begun += 1
        return column

    def _finish(
        self, columns: Int64[np.ndarray, "codebooks steps"]
    ) -> Int64[np.ndarray, "codebooks finished"]:
        """Bring the books of each frame together; what still lacks one is kept."""
        held = np.concatenate([self._unfinished, columns], axis=1)
        n_books = held.shape[0]
        self._unfinished = held[:, -(n_books - 1) :] if n_books > 1 else held[:, :0]
        n_done = held.shape[1] - (n_books - 1)
        books = [held[k, k : k + n_done] for k in range(n_books)]
        finished = np.stack(books)
        return finished[:, finished[-1] < self._decoder.config.codebook_size]


class _Window:
    """A generation of one window, with conditions that are filled in as they become known.

    Row 0 of the batch is the one without conditions.
    """

    def __init__(self, decoder: TokenDecoder, length: int) -> None:
        config = decoder.config
        self._decoder = decoder
        self._slots = round(length / config.frame_rate * config.memory_rate)
        self.state = decoder.start(
            torch.zeros(2, length, config.rhythm_features),
            torch.zeros(2, self._slots, config.memory_dim),
            withheld=torch.tensor([True, False]),
        )
        self.begin()

    @property
    def position(self) -> int:
        return self.state.position

    @torch.inference_mode()
    def begin(self) -> None:
        for cache in self.state.caches:
            cache.length = 0
        mask = self.state.conditions.mask
        assert mask is not None
        mask[..., 1:] = False
        self._filled = 0

    def next_column(self, column: Tensor) -> Tensor:
        """The column to be read now, twice: codes of frames before the window are unknown."""
        before = torch.arange(column.shape[1]) >= self.position
        return column.masked_fill(before, self._decoder.config.empty).expand(2, -1)

    def foretell(self, rows: Tensor) -> None:
        kept = rows[:, : self.state.conditions.rhythm.shape[1] - self.position]
        self.state.conditions.rhythm[:, self.position : self.position + kept.shape[1]] = kept

    def remember(self, vector: Tensor, frames_ago: float) -> None:
        began = self.position - frames_ago
        if began < 0 or self._filled == self._slots:
            return
        self._filled += 1
        conditions, config = self.state.conditions, self._decoder.config
        rotation = rotation_table(
            torch.tensor([began], dtype=torch.float32), config.d_model // config.n_heads
        )
        for layer, block in enumerate(self._decoder.blocks):
            attention = cast(DecoderBlock, block).cross_attention
            keys, values = attention.remember(vector, rotation)
            conditions.keys[layer][1:, :, self._filled : self._filled + 1] = keys
            conditions.values[layer][1:, :, self._filled : self._filled + 1] = values
        ended = began + config.frame_rate / config.memory_rate
        first = max(self.position, int(np.ceil(ended)))
        assert conditions.mask is not None
        conditions.mask[1, :, first:, self._filled] = True
