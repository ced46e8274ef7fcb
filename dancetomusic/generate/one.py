"""Video in, music out: the stages in order, each timed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from dancetomusic.errors import InputError
from dancetomusic.generate.beat_source import BeatChoice, choose_rhythm, sound_of
from dancetomusic.generate.doubts import movement_doubts
from dancetomusic.generate.inputs import Source, read_dancers
from dancetomusic.generate.result import MIDI_SUFFIX, Music, no_score, no_stems
from dancetomusic.io.video import probe_video
from dancetomusic.models.base import Conditions, MusicModel, Progress, ScoreChoice, StageClock
from dancetomusic.models.encoders import load_encoder
from dancetomusic.models.pose_encoder.lead import AUTO, check_follow, choose_lead
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.models.registry import open_music_model
from dancetomusic.models.styles import require_style
from dancetomusic.nn.sampling import SAMPLING_FIELDS, SamplingConfig
from dancetomusic.rhythm.swing import offbeat_position
from dancetomusic.score.master import LOUDNESS_LUFS, master
from dancetomusic.types import RhythmTrack

OPTIONS = {"midi": "score", "programs": "program"}
"""Names of choices on the command line, where they differ."""


class DanceToMusic:
    """The whole chain with its weights loaded.

    The rhythm of movement is estimated by ``encoder``, or the model's own where it has one.

    Example:
        >>> music = DanceToMusic.from_pretrained().generate("dance.mp4")  # doctest: +SKIP
        >>> music.save("out.wav")  # doctest: +SKIP
    """

    def __init__(self, model: MusicModel, encoder: PoseEncoder | None = None) -> None:
        self.model = model
        self.encoder = encoder or model.encoder or load_encoder()

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: Path | str | None = None,
        codec: Path | str | None = None,
        *,
        threads: int | None = None,
    ) -> DanceToMusic:
        """Load a model that plays, and its codec.

        Args:
            checkpoint: A directory, a released name, or ``"score"``, the default, which has no
                weights.
            codec: A directory, a released name, or an EnCodec hub id; ``"codec"`` by default.
            threads: CPU threads for PyTorch, process-wide.

        Raises:
            CheckpointError: If one is missing, corrupted, makes no sound from movement, or does
                not fit the other.
            DependencyError: If a hub id cannot be reached.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(open_music_model(checkpoint, codec))

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles of music that can be asked for."""
        return self.model.options.styles

    def check(self, choices: Mapping[str, Any]) -> SamplingConfig:
        """Refuse choices that ``generate`` would, and give the sampling that they amount to.

        Args:
            choices: ``style``, ``swing``, ``condition``, fields of ``SamplingConfig`` and of
                ``ScoreChoice``; ``None`` for the model's default.

        Raises:
            InputError: If one is none of this model's, or out of range.
        """
        options = self.model.options
        of_score = {field.name for field in fields(ScoreChoice)}
        given = {name: value for name, value in choices.items() if value is not None}
        known = {*options.sampling_fields, "style", *(["swing"] if options.swing else [])}
        known |= of_score if options.score else set()
        known |= {"condition"} if options.conditions else set()
        for name in sorted(given.keys() - known):
            option = OPTIONS.get(name, name)
            raise InputError(f"this model has no choice of {option}", f"Leave --{option} out.")
        require_style(given.get("style"), options.styles)
        if given.get("condition") not in (None, *options.conditions):
            raise InputError(
                f"--condition is {given['condition']}", f"Give {' or '.join(options.conditions)}."
            )
        offbeat_position(given.get("swing", 0.0))
        self.model.check(ScoreChoice(**{k: given[k] for k in given if k in of_score}))
        return options.sampling.replace(**{k: given[k] for k in given if k in SAMPLING_FIELDS})

    def check_outputs(self, outputs: Iterable[Path], stems: Path | None = None) -> None:
        """Refuse outputs that the model's music cannot be written to, before any work.

        Raises:
            OutputError: If one needs a score, and the model plays none.
        """
        options = self.model.options
        for output in outputs:
            if output.suffix.lower() == MIDI_SUFFIX and not options.score:
                raise no_score(output)
        if stems is not None and not options.stems:
            raise no_stems()

    def generate(
        self,
        source: Source,
        *,
        seed: int = 0,
        bpm: float | None = None,
        beats: Path | str | RhythmTrack | None = None,
        beats_from: str = "auto",
        tempo: str | None = None,
        offset_ms: float = 0.0,
        sound: Path | str | None = None,
        style: str | None = None,
        style_file: Path | None = None,
        key: str | None = None,
        midi: Path | str | None = None,
        soundfont: Path | str | None = None,
        programs: Mapping[str, int] | None = None,
        energy: float | None = None,
        swing: float | None = None,
        condition: str | None = None,
        num_dancers: int = 1,
        follow: str = AUTO,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        cfg_scale: float | None = None,
        loudness_lufs: float | None = LOUDNESS_LUFS,
        workers: int | None = None,
        on_progress: Progress | None = None,
    ) -> Music:
        """Make music for a dance.

        Args:
            source: A video, poses as ``.npz``, or dancers of one length.
            seed: The same seed gives the same music.
            bpm: Tempo to play at; only the phase is then estimated.
            beats: CSV of beats, or beats themselves, to play on instead of estimated ones.
            beats_from: ``"sound"`` takes the beats of the video's own sound, ``"movement"``
                those of the dance; ``"auto"`` the sound's where it has a clear pulse.
            tempo: ``"half"`` or ``"double"`` as fast as estimated.
            offset_ms: Play this much later (positive) or earlier.
            sound: File to find the beats in instead of the video's own sound.
            style: One of ``styles``; chosen for the dance by default. The metre stays that of
                the dance.
            style_file: A style of one's own; as for the next five, see ``ScoreChoice``.
            key: Such as ``"A minor"``.
            midi: Notes to play in place of composed ones.
            soundfont: File to play from.
            programs: General MIDI programs by track.
            energy: How much livelier (to 1) or calmer (to -1) the music is than the dance.
            swing: How late the off-beats are played: 0 half-way between the beats, 1 at two
                thirds. Styles that swing by themselves then swing more.
            condition: What the model reads of the dance, such as ``"motiongram"`` or ``"poses"``.
            num_dancers: People to follow at most; energy, hits and memory come from all of them.
            follow: Whose beat is played; see ``choose_lead``.
            temperature: See ``SamplingConfig``, as for the next three; the model's own default
                where none is given.
            top_k: Likeliest classes to choose among.
            top_p: Probability mass to choose within.
            cfg_scale: Classifier-free guidance.
            loudness_lufs: Integrated loudness to master to, in [-60, 0]; ``None`` leaves the
                sound as the model made it.
            workers: Processes that look for dancers, by default one for each processor that may
                be used; the music does not depend on it.
            on_progress: Called with a stage's name and the share of it done.

        Raises:
            VideoError: If the video cannot be read, or has no sound to take the beats from.
            PoseError: If nobody dances in it, or for less than a second, or if the beats are to
                be those of the movement and nobody moves.
            InputError: If an option is out of range or none of this model's.
        """
        sampling = self.check(
            {
                "style": style,
                "style_file": style_file,
                "key": key,
                "midi": midi,
                "soundfont": soundfont,
                "programs": programs,
                "energy": energy,
                "swing": swing,
                "condition": condition,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "cfg_scale": cfg_scale,
            }
        )
        check_follow(follow)
        stages = StageClock(on_progress)
        with stages.stage("poses") as report:
            dancers, video = read_dancers(source, num_dancers, report, workers=workers)
        with stages.stage("rhythm"):
            lead = choose_lead(dancers, follow)
            choice = BeatChoice(beats_from, beats, bpm, tempo, offset_ms)
            doubts = movement_doubts(
                dancers, None if video is None else probe_video(video).source_fps
            )
            encoding, rhythm, readings = choose_rhythm(
                self.encoder,
                dancers,
                choice,
                sound=sound_of(choice, sound or video),
                doubts=doubts,
                leaders=lead.leaders,
            )
        choice_of_score = ScoreChoice(style_file, key, midi, soundfont, programs, energy or 0.0)
        conditions = Conditions(
            tuple(dancers),
            rhythm,
            encoding,
            style,
            swing or 0.0,
            seed,
            choice_of_score,
            video,
            condition,
        )
        made = self.model.generate(conditions, sampling, stages)
        with stages.stage("master"):
            waveform = master(made.waveform, loudness_lufs)
        return Music(
            waveform,
            rhythm,
            conditions.dancers,
            stages.timings,
            video,
            made.codes,
            readings,
            made.score,
            made.stems,
            made.about,
            doubts if rhythm.source == "movement" else (),
            lead.reason if rhythm.source == "movement" else "",
        )
