"""The autoregressive transformer that writes codes on a rhythm, beside a dance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

from dancetomusic.codec.patterns import CodePattern
from dancetomusic.config import check_ranges
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.pose2audio.score_condition import ScoreCondition, ScoreRoll
from dancetomusic.models.styles import require_style
from dancetomusic.nn.attention import KVCache, Memory
from dancetomusic.nn.positional import rotation_table
from dancetomusic.nn.sampling import SamplingConfig, classifier_free_guidance, sample
from dancetomusic.nn.transformer import DecoderBlock, EncoderBlock, norm
from dancetomusic.rhythm.features import RHYTHM_FEATURES

UNKNOWN = -1
ANY_STYLE = 0
"""Number of the style that stands for none in particular."""
STYLE_POSITIONS = 48
"""Positions in a bar at which a style has a vector of its own; bars of 3 and 4 beats divide it."""
_BAR_PHASE = [RHYTHM_FEATURES.index(name) for name in ("bar_cos", "bar_sin")]


@dataclass(frozen=True)
class TokenDecoderConfig:
    """Shape of a token decoder.

    Raises:
        ConfigError: If a value is out of range.
    """

    rhythm_features: int
    """Columns of the rhythm features."""
    memory_dim: int = 0
    """Width of the pose memory; 0 for none: the movement is in rhythm and score alone."""
    n_codebooks: int = 2
    """Codebooks of the codec that are written."""
    codebook_size: int = 1024
    """Entries of each codebook."""
    pattern: str = "delay"
    """Order in which codes are written: ``delay`` or ``flatten``."""
    d_model: int = 256
    """Width of the transformer."""
    n_layers: int = 6
    """Decoder blocks."""
    n_heads: int = 4
    """Attention heads; each gets ``d_model / n_heads`` channels, an even number."""
    ff_mult: int = 4
    """Width of the feed-forward layers as a multiple of ``d_model``."""
    memory_layers: int = 1
    """Encoder blocks over the pose memory; 0 for none."""
    causal: bool = False
    """Whether a code sees only memory of what was danced before it; the rhythm is predicted."""
    rhythm_span: int = 31
    """Code frames, past and future together, over which rhythm is gathered; odd."""
    dropout: float = 0.1
    """Share of activations dropped in training, in [0, 1)."""
    frame_rate: float = 75.0
    """Code frames a second."""
    memory_rate: float = 12.0
    """Positions of the pose memory a second."""
    styles: tuple[str, ...] = ()
    """Styles of music that can be asked for; none by default."""
    window_s: int = 6
    """Length of the music that it was trained on, and writes at once, in whole seconds."""
    score: bool = False
    """Whether it plays a score where one is given."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            counts="rhythm_features n_codebooks codebook_size d_model n_layers n_heads ff_mult "
            "window_s",
            weights="memory_dim memory_layers",
        )
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                f"d_model {self.d_model} does not split into {self.n_heads} heads of even width",
                "Give a multiple of 2 · n_heads.",
            )
        if self.causal and self.memory_dim and self.memory_layers:
            raise ConfigError(
                f"a causal decoder has {self.memory_layers} memory layers, which see ahead",
                "Set memory_layers to 0.",
            )
        if self.rhythm_span < 1 or self.rhythm_span % 2 == 0:
            raise ConfigError(f"rhythm_span is {self.rhythm_span}", "Give an odd number ≥ 1.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}", "Give a share in [0, 1).")
        for key in ("frame_rate", "memory_rate"):
            if getattr(self, key) <= 0:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give a positive rate.")
        if self.styles and self.rhythm_features <= max(_BAR_PHASE):
            raise ConfigError(
                f"styles need the phase in the bar, not {self.rhythm_features} rhythm features",
                "Give all rhythm features.",
            )
        if len(set(self.styles)) < len(self.styles):
            raise ConfigError(f"a style is repeated in {self.styles}", "Name each once.")
        CodePattern(self.pattern, self.n_codebooks)

    @property
    def empty(self) -> int:
        """The token of a cell without a code: before the start, after the end, padding."""
        return self.codebook_size

    def style_index(self, style: str | None) -> int:
        """The number by which the decoder knows a style; ``ANY_STYLE`` for ``None``.

        Raises:
            InputError: If the decoder does not know it.
        """
        require_style(style, self.styles)
        return ANY_STYLE if style is None else self.styles.index(style) + 1


@dataclass
class Conditions:
    """What the decoder plays to: computed once, then only read.

    Attributes:
        rhythm: Embedding to be added at each step, that of the style included.
        keys: Of the pose memory, one a layer; none without a memory.
        mask: Memory positions that may be seen, by each step where they differ; ``None`` for all.
    """

    rhythm: Float[Tensor, "batch steps d_model"]
    rotation: Complex[Tensor, "steps half"]
    keys: list[Tensor]
    values: list[Tensor]
    mask: Bool[Tensor, "batch 1 #steps memory"] | None

    def memory_of(self, layer: int, span: slice) -> Memory | None:
        """What the steps of ``span`` may attend to in a layer."""
        if not self.keys:
            return None
        mask = self.mask
        if mask is not None and mask.shape[2] > 1:
            mask = mask[:, :, span]
        return Memory(self.keys[layer], self.values[layer], mask)


@dataclass
class DecodingState:
    """A generation in progress: its conditions and one cache a layer.

    Attributes:
        remembered: Positions of the pose memory filled in by ``TokenDecoder.remember``.
    """

    conditions: Conditions
    caches: list[KVCache]
    remembered: int = 0

    @property
    def position(self) -> int:
        """Steps taken so far."""
        return self.caches[0].length

    @torch.inference_mode()
    def restart(self) -> None:
        """Begin again, without a memory."""
        for cache in self.caches:
            cache.length = 0
        if self.conditions.mask is not None:
            self.conditions.mask[..., 1:] = False
        self.remembered = 0

    def conditional_row(self) -> DecodingState:
        """The second row of a guided generation, in the same memory: its steps cost half."""
        rows, given = slice(1, 2), self.conditions
        return DecodingState(
            Conditions(
                given.rhythm[rows],
                given.rotation,
                [keys[rows] for keys in given.keys],
                [values[rows] for values in given.values],
                None if given.mask is None else given.mask[rows],
            ),
            [KVCache(cache.keys[rows], cache.values[rows], cache.length) for cache in self.caches],
            self.remembered,
        )

    @torch.inference_mode()
    def set_rhythm(self, embedded: Float[Tensor, "batch steps d_model"]) -> None:
        """Give the rhythm of the next steps; those past the end are ignored."""
        rhythm = self.conditions.rhythm[:, self.position :]
        kept = min(rhythm.shape[1], embedded.shape[1])
        rhythm[:, :kept] = embedded[:, :kept]


Step = Callable[[Tensor], Tensor]
"""Takes the tokens [batch, codebooks] of one step, gives the logits [batch, codebooks, classes]
of the next."""


class TokenDecoder(nn.Module):
    """Writes codes one step after another, given rhythm features and maybe a memory of poses.

    Rhythm is known in advance: a convolution gathers it over ``rhythm_span`` frames, half of
    them in the future, and the result is added frame by frame. The memory is reached by
    cross-attention whose rotary positions are the time in code frames, as are those of
    self-attention. A learned null position stands beside the memory: it alone is seen where
    there are no poses (music without a dance) or where it is unconditional.

    A style is a bar of vectors, ``STYLE_POSITIONS`` of them, read by the phase in the bar and
    added like the rhythm: it can say directly what is played where. Those of ``ANY_STYLE`` are
    zero and stay so, and all are zero at first. A decoder without styles has no table. A score is
    added likewise, see ``ScoreCondition``.
    """

    def __init__(self, config: TokenDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.pattern = CodePattern(config.pattern, config.n_codebooks)
        width, ff_dim = config.d_model, config.d_model * config.ff_mult
        self.embedding = nn.Embedding(config.n_codebooks * (config.codebook_size + 1), width)
        self.rhythm_in = nn.Conv1d(
            config.rhythm_features, width, config.rhythm_span, padding=config.rhythm_span // 2
        )
        self.rhythm_out = nn.Linear(width, width)
        self.score = ScoreCondition(width, config.rhythm_span) if config.score else None
        self.styles = (
            nn.Embedding(len(config.styles) + 1, STYLE_POSITIONS * width, padding_idx=ANY_STYLE)
            if config.styles
            else None
        )
        has_memory = config.memory_dim > 0
        if has_memory:
            self.memory_in = nn.Linear(config.memory_dim, width)
            self.null_memory = nn.Parameter(torch.zeros(width))
            self.memory_blocks = nn.ModuleList(
                EncoderBlock(width, config.n_heads, ff_dim, config.dropout)
                for _ in range(config.memory_layers)
            )
            self.memory_norm = norm(width)
        self.blocks = nn.ModuleList(
            DecoderBlock(width, config.n_heads, ff_dim, config.dropout, memory=has_memory)
            for _ in range(config.n_layers)
        )
        self.norm = norm(width)
        self.heads = nn.Linear(width, config.n_codebooks * config.codebook_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self._initialise()

    def forward(
        self,
        codes: Int[Tensor, "batch codebooks frames"],
        rhythm: Float[Tensor, "batch frames features"],
        memory: Float[Tensor, "batch memory memory_dim"] | None = None,
        memory_mask: Bool[Tensor, "batch memory"] | None = None,
        *,
        style: Int[Tensor, " batch"] | None = None,
        unconditional: Bool[Tensor, " batch"] | None = None,
        score: ScoreRoll | None = None,
    ) -> Float[Tensor, "batch codebooks frames classes"]:
        """Logits of every code, given the codes written before it.

        ``logits[b, k, f]`` is about ``codes[b, k, f]``.

        Args:
            codes: Indices, padded at the end with ``config.empty``.
            rhythm: Rhythm features, padded with zeros.
            memory: Pose memory whose position 0 is at the time of frame 0.
            memory_mask: True where ``memory`` is valid; all of it by default.
            style: Numbers as ``TokenDecoderConfig.style_index`` gives them; ``ANY_STYLE`` for
                all by default.
            unconditional: Items that see neither rhythm nor memory, style or score, to train
                guidance.
            score: Piano roll, padded with zeros; ignored by a decoder that plays none.
        """
        steps = self.pattern.build(codes, self.config.empty)
        before = F.pad(steps, (1, -1), value=self.config.empty)
        conditions = self._conditions(rhythm, memory, memory_mask, style, unconditional, score)
        logits = self._run(before, conditions, slice(0, before.shape[2]), None)
        return self.pattern.revert(logits.transpose(1, 2), codes.shape[2])

    @torch.inference_mode()
    def start(
        self,
        rhythm: Float[Tensor, "batch frames features"],
        memory: Float[Tensor, "batch memory memory_dim"] | None = None,
        memory_mask: Bool[Tensor, "batch memory"] | None = None,
        *,
        style: Int[Tensor, " batch"] | None = None,
        unconditional: Bool[Tensor, " batch"] | None = None,
        score: ScoreRoll | None = None,
    ) -> DecodingState:
        """Compute the conditions of ``forward`` and allocate the caches for all steps."""
        conditions = self._conditions(rhythm, memory, memory_mask, style, unconditional, score)
        batch, steps, width = conditions.rhythm.shape
        heads = self.config.n_heads
        shape = (batch, heads, steps, width // heads)
        caches = [KVCache(rhythm.new_zeros(shape), rhythm.new_zeros(shape)) for _ in self.blocks]
        return DecodingState(conditions, caches)

    @torch.inference_mode()
    def start_live(self, n_frames: int) -> DecodingState:
        """Start guided generation whose conditions are filled in while it runs.

        Of its two rows the first is unconditional. Give the rhythm by
        ``DecodingState.set_rhythm`` and the memory by ``remember``.
        """
        config = self.config
        n_memory = round(n_frames / config.frame_rate * config.memory_rate)
        state = self.start(
            torch.zeros(2, n_frames, config.rhythm_features),
            torch.zeros(2, n_memory, config.memory_dim),
            unconditional=torch.tensor([True, False]),
        )
        state.restart()
        return state

    @torch.inference_mode()
    def remember(
        self, state: DecodingState, memory: Float[Tensor, " memory_dim"], began: float
    ) -> None:
        """Add a position of the pose memory to the conditional row of a live generation.

        It is seen from the step at which it has ended. Ignored if it began before the first
        step, if the memory is full, and by a decoder that has none.

        ``began`` is when it began, in code frames from the first step.
        """
        conditions, config, slot = state.conditions, self.config, state.remembered + 1
        if not config.memory_dim:
            return
        assert conditions.mask is not None
        if began < 0 or slot == conditions.mask.shape[3]:
            return
        state.remembered = slot
        rotation = rotation_table(
            torch.tensor([began], dtype=torch.float32), config.d_model // config.n_heads
        )
        vector = self.memory_norm(self.memory_in(memory[None, None]))
        for layer, block in enumerate(self.blocks):
            attention = cast(DecoderBlock, block).cross_attention
            keys, values = attention.remember(vector, rotation)
            conditions.keys[layer][1:, :, slot : slot + 1] = keys
            conditions.values[layer][1:, :, slot : slot + 1] = values
        ended = math.ceil(began + config.frame_rate / config.memory_rate)
        conditions.mask[1, :, max(state.position, ended) :, slot] = True

    @torch.inference_mode()
    def advance(
        self, state: DecodingState, tokens: Int[Tensor, "batch codebooks steps"]
    ) -> Float[Tensor, "batch codebooks classes"]:
        """Read the next tokens of the pattern, and give logits for the step after them.

        The first call begins with a column of ``config.empty``; later calls take one column.
        """
        span = slice(state.position, state.position + tokens.shape[2])
        return self._run(tokens, state.conditions, span, state.caches)[:, 0]

    def stepper(self, state: DecodingState) -> Step:
        """``advance`` bound to a state, for one column at a time."""
        return lambda tokens: self.advance(state, tokens[:, :, None])

    @torch.inference_mode()
    def generate(
        self,
        rhythm: Float[Tensor, "batch frames features"],
        memory: Float[Tensor, "batch memory memory_dim"] | None = None,
        memory_mask: Bool[Tensor, "batch memory"] | None = None,
        *,
        style: Int[Tensor, " batch"] | None = None,
        score: ScoreRoll | None = None,
        prefix_codes: Int[Tensor, "batch codebooks prefix"] | None = None,
        sampling: SamplingConfig | None = None,
        generator: torch.Generator | None = None,
        stepper: Callable[[DecodingState], Step] | None = None,
    ) -> Int[Tensor, "batch codebooks frames"]:
        """Write one code per codebook for each frame of rhythm.

        Args:
            rhythm: Rhythm features of all frames, those of the prefix included.
            memory: See ``forward``, as for the next two.
            memory_mask: Where ``memory`` is valid.
            style: Number of each item's style.
            score: Piano roll of all frames.
            prefix_codes: The first frames, to be continued; returned unchanged.
            sampling: How codes are sampled; from the plain distribution by default. Guidance
                costs a second row per item: it leads away from what is played without the score,
                in all codebooks; without a score from what is played without any condition, in
                the first one.
            generator: Source of the noise; the same one in the same state gives the same codes.
            stepper: Another implementation of ``stepper``.

        Raises:
            InputError: If the prefix has more frames than the rhythm.
        """
        sampling = sampling or SamplingConfig()
        steps = self._prefix_steps(prefix_codes, rhythm)
        unknown = steps == UNKNOWN
        todo = unknown.any(0).any(0).nonzero()[:, 0].tolist()
        was_training = self.training
        self.eval()
        try:
            if not todo:
                return self.pattern.revert(steps, rhythm.shape[1])
            guided = sampling.cfg_scale != 1.0
            n_guided = 1 if score is None or self.score is None else self.config.n_codebooks
            state = self._start_guided(rhythm, memory, memory_mask, style, score, guided)
            step = (stepper or self.stepper)(state)
            prompt = F.pad(steps, (1, 0), value=self.config.empty)[:, :, : todo[0] + 1]
            logits = self.advance(state, prompt.repeat(1 + guided, 1, 1))
            for index in range(todo[0], steps.shape[2]):
                if guided:
                    uncond, cond = logits.chunk(2)
                    logits = classifier_free_guidance(uncond, cond, sampling.cfg_scale, n_guided)
                sampled = sample(logits, sampling, generator=generator)
                column = torch.where(unknown[:, :, index], sampled, steps[:, :, index])
                steps[:, :, index] = column
                if index + 1 < steps.shape[2]:
                    logits = step(torch.cat([column, column]) if guided else column)
        finally:
            self.train(was_training)
        return self.pattern.revert(steps, rhythm.shape[1])

    def _prefix_steps(self, prefix: Tensor | None, rhythm: Tensor) -> Tensor:
        """All steps, with the prefix in place and ``UNKNOWN`` where a code is to be sampled."""
        config, (batch, frames, _) = self.config, rhythm.shape
        codes = torch.full(
            (batch, config.n_codebooks, frames), UNKNOWN, dtype=torch.long, device=rhythm.device
        )
        if prefix is not None:
            given = prefix.shape[2]
            if given > frames:
                raise InputError(
                    f"the prefix has {given} frames, the rhythm {frames}",
                    "Give the rhythm of the prefix and of what follows it.",
                )
            if given and not 0 <= int(prefix.min()) <= int(prefix.max()) < config.codebook_size:
                raise InputError(
                    f"prefix codes go from {int(prefix.min())} to {int(prefix.max())}",
                    f"Give indices from 0 to {config.codebook_size - 1}.",
                )
            codes[:, :, :given] = prefix
        return self.pattern.build(codes, config.empty)

    def _start_guided(
        self,
        rhythm: Tensor,
        memory: Tensor | None,
        memory_mask: Tensor | None,
        style: Tensor | None,
        score: ScoreRoll | None,
        guided: bool,
    ) -> DecodingState:
        """``start``; guidance puts a copy of the batch that sees no score in front.

        Without a score the copy sees no conditions at all.
        """
        if not guided:
            return self.start(rhythm, memory, memory_mask, style=style, score=score)
        unguided = torch.arange(2 * len(rhythm), device=rhythm.device) < len(rhythm)
        played = score is not None and self.score is not None
        twice = None if score is None else ScoreRoll(*(torch.cat([v, v]) for v in score))
        return self.start(
            torch.cat([rhythm, rhythm]),
            None if memory is None else torch.cat([memory, memory]),
            None if memory_mask is None else torch.cat([memory_mask, memory_mask]),
            style=None if style is None else torch.cat([style, style]),
            unconditional=None if played else unguided,
            score=None if twice is None else twice.masked(unguided),
        )

    def _conditions(
        self,
        rhythm: Tensor,
        memory: Tensor | None,
        memory_mask: Tensor | None,
        style: Tensor | None,
        unconditional: Tensor | None,
        score: ScoreRoll | None,
    ) -> Conditions:
        if unconditional is not None:
            rhythm = rhythm.masked_fill(unconditional[:, None, None], 0.0)
            style = None if style is None else style.masked_fill(unconditional, ANY_STYLE)
            score = None if score is None else score.masked(unconditional)
        config, n_steps = self.config, self.pattern.n_steps(rhythm.shape[1])
        steps_at = self.pattern.frame_of(n_steps).to(rhythm.device)
        conditions = Conditions(
            rhythm=self._embed_steps(rhythm, style, score, steps_at),
            rotation=rotation_table(steps_at, config.d_model // config.n_heads),
            keys=[],
            values=[],
            mask=None,
        )
        if config.memory_dim:
            if memory is None:
                memory, memory_mask = rhythm.new_zeros((len(rhythm), 0, config.memory_dim)), None
            self._read_memory(conditions, memory, memory_mask, unconditional, steps_at)
        return conditions

    def _read_memory(
        self,
        conditions: Conditions,
        memory: Tensor,
        visible: Tensor | None,
        unconditional: Tensor | None,
        steps_at: Tensor,
    ) -> None:
        """Add keys and values of a memory to the conditions, and what may be seen of it."""
        config, batch = self.config, len(memory)
        if unconditional is not None:
            if visible is None:
                visible = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
            visible = visible & ~unconditional[:, None]
        memory_at = torch.arange(memory.shape[1], device=memory.device) * (
            config.frame_rate / config.memory_rate
        )
        # The null position comes first, at time 0.
        rotation = rotation_table(F.pad(memory_at, (1, 0)), config.d_model // config.n_heads)
        mask = None if visible is None else F.pad(visible, (1, 0), value=True)[:, None, None]
        null = self.null_memory.expand(batch, 1, -1)
        remembered = torch.cat([null, self.memory_in(memory)], 1)
        for block in self.memory_blocks:
            remembered = block(remembered, rotation, mask)
        remembered = self.memory_norm(remembered)
        if config.causal:
            ends_at = memory_at + config.frame_rate / config.memory_rate
            danced = F.pad(ends_at <= steps_at[:, None], (1, 0), value=True)
            mask = danced if mask is None else mask & danced
            mask = mask.expand(batch, 1, *danced.shape)
        for block in self.blocks:
            attention = cast(DecoderBlock, block).cross_attention
            keys, values = attention.remember(remembered, rotation)
            conditions.keys.append(keys)
            conditions.values.append(values)
        conditions.mask = mask

    def _embed_steps(
        self, rhythm: Tensor, style: Tensor | None, score: ScoreRoll | None, steps_at: Tensor
    ) -> Tensor:
        """What is added at each step; zero features follow the last frame."""
        frame_of_step = steps_at.long()
        after = int(frame_of_step[-1]) + 1 - rhythm.shape[1] if len(frame_of_step) else 0
        embedded = self.embed_rhythm(F.pad(rhythm, (0, 0, 0, after)), style)
        if score is not None and self.score is not None:
            padded = score._replace(columns=F.pad(score.columns, (0, 0, 0, after)))
            embedded = embedded + self.score(padded)
        return embedded[:, frame_of_step]

    def embed_rhythm(
        self,
        rhythm: Float[Tensor, "batch frames features"],
        style: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch frames d_model"]:
        """What is added at each frame for its rhythm and style."""
        gathered = F.gelu(self.rhythm_in(rhythm.transpose(1, 2)))
        embedded = self.rhythm_out(gathered.transpose(1, 2))
        if style is not None and self.styles is not None:
            bars = self.styles(style).unflatten(1, (STYLE_POSITIONS, -1))
            embedded = embedded + _places_in_bar(rhythm) @ bars
        return embedded

    def _run(
        self, tokens: Tensor, conditions: Conditions, span: slice, caches: list[KVCache] | None
    ) -> Tensor:
        """Logits [batch, steps, codebooks, classes]; with caches, of the last step only."""
        config = self.config
        offsets = torch.arange(config.n_codebooks, device=tokens.device)
        rows = tokens + (offsets * (config.codebook_size + 1))[:, None]
        x = self.dropout(self.embedding(rows).sum(1) + conditions.rhythm[:, span])
        rotation = conditions.rotation[span]
        for layer, block in enumerate(self.blocks):
            cache = None if caches is None else caches[layer]
            x = block(x, rotation, conditions.memory_of(layer, span), cache)
        if caches is not None:
            x = x[:, -1:]
        return self.heads(self.norm(x)).unflatten(-1, (config.n_codebooks, config.codebook_size))

    def _initialise(self) -> None:
        """Small normal weights; those that add to the residual stream shrink with depth."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith((".out", ".contract"))
                depth = 3 * self.config.n_layers if residual else 1
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(depth))
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.config.memory_dim:
            nn.init.normal_(self.null_memory, std=0.02)
        if self.styles is not None:
            nn.init.zeros_(self.styles.weight)
        if self.score is not None:
            self.score.initialise()
        # Single steps are bound by reading weights, which is fastest down the columns.
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()


def _places_in_bar(
    rhythm: Float[Tensor, "batch frames features"],
) -> Float[Tensor, "batch frames positions"]:
    """Weights of the two positions of a style's bar nearest to each frame; zero without beats."""
    cos, sin = rhythm[..., _BAR_PHASE].unbind(-1)
    position = torch.atan2(sin, cos)[..., None] * (STYLE_POSITIONS / (2 * math.pi))
    apart = (position - torch.arange(STYLE_POSITIONS, device=rhythm.device)) % STYLE_POSITIONS
    apart = torch.minimum(apart, STYLE_POSITIONS - apart)
    return (1 - apart).clamp(min=0) * (cos.abs() + sin.abs() > 0)[..., None]
