"""The settings by which the token decoder is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from dancetomusic.config import check_ranges
from dancetomusic.errors import ConfigError
from dancetomusic.synthesis.corpus import CorpusConfig
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig
from dancetomusic.training.config import LoopConfig


@dataclass(frozen=True)
class Pose2AudioTrainingConfig(LoopConfig):
    """How the token decoder is trained."""

    grooves: str | None = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset; none to learn from clips alone."""
    dances: str = "../shared/data/tang2018"
    """Directory of dances with exact beats."""
    clips: str | None = None
    """Set of clips whose ``train`` split takes the dances' place."""
    codec: str = "codec"
    """Codec whose codes are learned: a directory, a released name, or an EnCodec hub id."""
    pose_encoder: str = "pose2audio"
    """Checkpoint whose encoder reads the dances: of ``pose_encoder``, or of ``pose2audio``."""
    start_from: str | None = None
    """Pose2Audio checkpoint whose decoder to start from; it may have other styles, another codec
    or number of codebooks, more layers (of which some are then taken) and memory layers."""
    corpus: CorpusConfig = field(default_factory=lambda: CorpusConfig(n_pieces=480, seed=1))
    validation: CorpusConfig = field(
        default_factory=lambda: CorpusConfig(n_pieces=30, seed=2, held_out=True)
    )
    scores: ScoreCorpusConfig = field(default_factory=ScoreCorpusConfig)
    """Pieces of the arranger, of which the decoder is given the score; the music of dances is then
    arranged, too."""
    score_validation: ScoreCorpusConfig = field(
        default_factory=lambda: ScoreCorpusConfig(n_pieces=16, seed=1)
    )
    """Pieces to validate on, played by known and again by held-out kits and basses."""
    no_score_share: float = 0.2
    """Share of windows of such pieces without the score."""
    no_part_share: float = 0.1
    """Of the others, share of parts (drums, bass, chords, lead) that are not given."""
    no_instrument_share: float = 0.3
    """Of the others, share of parts whose instrument is not given."""
    prepared: str | None = None
    """Directory for what is rendered, for several runs; the run's own by default."""
    dance_versions: int = 3
    """Renderings of each dance; all but the first are retimed by 0.75-1.35."""
    n_codebooks: int = 2
    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 4
    pose_memory: bool = False
    """Let the decoder attend to the pose encoder's memory of the movement, beside rhythm and score:
    worth 0.002 nats a code where a score is given (``dancetomusic evaluate memory``)."""
    memory_layers: int = 1
    causal: bool = False
    """Show the decoder no memory of what is danced later; needs memory_layers: 0."""
    dropout: float = 0.05
    styles: tuple[str, ...] | None = None
    """Styles of music that can be asked for; those of ``start_from`` by default."""
    unnamed_share: float = 0.3
    """Share of windows without a style, so that none need be asked for."""
    style_rate: float = 6.0
    """Learning rate of the table of styles, as a multiple of the decoder's."""
    hidden_share: float = 0.0
    """Share of windows in which past codes are hidden, wholly in a third of them and in runs of
    10 frames in the others, so that codes have to be predicted from rhythm and style."""
    window_s: int | None = 6
    """Length of a training window, in whole seconds; none for that of the clips."""
    paired_share: float = 0.35
    """Share of windows with a dance beside the music."""
    unpaired_steps: int = 0
    """Steps at the start that learn from music alone."""
    withheld_share: float = 0.1
    """Share of unconditional windows, for classifier-free guidance."""
    teacher_forcing_ratio: float = 1.0
    """Share of past codes that are the true ones, in [0, 1]; the others are the model's samples."""
    perceptual_weight: float = 0.0
    """Of the distance between the sounds of sampled and true codes; 0 for none."""
    perceptual_s: int = 2
    """Length of sound that is compared, of each window."""
    adversarial_weight: float = 0.0
    """Of a critic that separates sampled from true codes; 0 for none."""
    critic_rate: float = 1e-4
    """Learning rate of the critic."""
    decoder_every: int = 1
    """Steps of the critic for each of the decoder."""
    train_encoder: bool = False
    """Train the pose encoder further beside the decoder, on windows instead of whole dances."""
    encoder_rate: float = 0.1
    """Its learning rate, as a share of the decoder's."""
    rhythm_weight: float = 1.0
    """Of its beat, downbeat, phase and energy losses while it is trained."""
    shown_s: int = 6
    """Length of the piece that is played at each validation, for TensorBoard."""
    max_steps: int = 2000
    warmup_steps: int = 150
    weight_decay: float = 0.05
    bf16: bool | None = True
    threads: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            shares="unnamed_share hidden_share paired_share withheld_share teacher_forcing_ratio "
            "no_score_share no_part_share no_instrument_share",
            weights="perceptual_weight adversarial_weight rhythm_weight unpaired_steps",
            counts="perceptual_s shown_s dance_versions decoder_every",
        )
        if self.window_s is not None:
            check_ranges(self, counts="window_s")
        elif self.clips is None:
            raise ConfigError("window_s is not given", "Give it, or clips.")
        alone = self.clips is not None and self.paired_share == 1 and not self.unpaired_steps
        if self.grooves is None and not self.scores.n_pieces and not alone:
            raise ConfigError(
                "there is no music without a dance",
                "Give grooves, scores, or clips with paired_share: 1.0 and unpaired_steps: 0.",
            )
