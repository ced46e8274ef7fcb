"""The presets of the shipped SoundFont: chosen recordings and computed sounds, balanced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from building_tools.soundfont import electronic as made
from dancetomusic.score.soundfont import (
    DEFAULTS,
    DRUM_BANK,
    Gen,
    Preset,
    Range,
    Region,
    Sample,
    SoundFont,
)

ALL: Range = (0, 127)
LOOP = 1
MAX_LAYERS = 5
"""Velocities of one sample that keep regions of their own."""

_PLAYED = frozenset(int(gen) for gen in Gen)

RECORDED = (
    *(0, 4, 5, 7, 11, 12, 13, 17, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30),
    *(32, 33, 34, 35, 36, 40, 45, 46, 48, 53, 55, 56, 57, 61, 65, 66, 71, 73, 75),
    *(104, 105, 107, 108, 114),
)
"""General MIDI programs taken from FluidR3."""

STEREO = (0, 53)
"""Recorded programs that keep both channels; of others the left one does for both."""

PROMPT = (0, 4, 5, 7, 11, 12, 13, *range(24, 37), 45, 46, 55, 104, 105, 107, 108, 114)
"""Struck and plucked programs, whose samples are cut to begin with the attack."""

RECORDED_KITS = (0, 8, 16, 32, 40)

ALIASES: Mapping[int, Sequence[int]] = {
    0: (1, 2, 3),
    7: (6,),
    11: (8, 9, 10, 14),
    12: (112, 115),
    16: (18, 19),
    21: (20,),
    25: (15, 106),
    27: (31, 120),
    40: (41, 110),
    48: (42, 43, 44, 49),
    50: (51, 95),
    53: (52, 54, 85, 91, 101),
    56: (59,),
    57: (58, 60),
    65: (64,),
    66: (67, 70),
    71: (68, 69, 109, 111),
    73: (72, 74),
    75: (76, 77, 78, 79),
    62: (63,),
    80: (83,),
    81: (86,),
    88: (92, 99, 121, 122, 123),
    89: (93, 94, 97),
    98: (96, 100, 102, 103, 124),
    114: (113,),
    116: (47, 117, 118, 119, 125, 126, 127),
}
"""Programs that sound like another, so that every General MIDI program sounds."""

BASS = (*range(32, 40), 87)
LEAD = (22, 40, *range(56, 85), 98, 104, 105, 107, 108, 114)
PAD = (*range(48, 55), 88, 89, 90)
TARGET_LUFS = {"bass": -23.0, "lead": -23.0, "pad": -27.0, "chords": -25.0, "drums": -20.0}
"""Loudness of the loudest 400 ms of a note (of drums, of a bar) at velocity 100, by role."""


def role(program: int) -> str:
    """What a General MIDI program is balanced as: a key of ``TARGET_LUFS``."""
    for name, programs in (("bass", BASS), ("lead", LEAD), ("pad", PAD)):
        if program in programs:
            return name
    return "chords"


@dataclass
class SoundSet:
    """Samples and presets as they come together.

    Attributes:
        samples: What regions' indices mean.
        presets: By bank and program.
    """

    samples: list[Sample] = field(default_factory=list)
    presets: dict[tuple[int, int], Preset] = field(default_factory=dict)

    def add(self, sample: Sample) -> int:
        """Take a sample in, and say its index."""
        self.samples.append(sample)
        return len(self.samples) - 1

    def put(self, name: str, program: int, regions: Iterable[Region], bank: int = 0) -> None:
        """Add a preset."""
        self.presets[bank, program] = Preset(name, bank, program, tuple(regions))


def build(recordings: SoundFont) -> SoundSet:
    """All sounds, not balanced yet.

    Args:
        recordings: FluidR3 GM.

    Raises:
        InputError: If ``recordings`` lacks a preset.
    """
    sounds = SoundSet()
    taken = _Recordings(recordings, sounds)
    for program in RECORDED:
        preset = taken.preset(program, drums=False)
        sounds.put(preset.name, program, preset.regions)
    for kit in RECORDED_KITS:
        preset = taken.preset(kit, drums=True)
        sounds.put(preset.name, kit, preset.regions, DRUM_BANK)
    taiko = taken.preset(116, drums=False)
    sounds.put(taiko.name, 116, taiko.regions)
    _add_tones(sounds)
    standard = sounds.presets[DRUM_BANK, 0].regions
    for name, program, strokes in (
        ("Electronic 909", 24, _strokes_909()),
        ("TR-808", 25, _strokes_808()),
    ):
        own = list(_kit_regions(sounds, strokes))
        keys = {region.keys[0] for region in own}
        rest = [region for region in standard if not keys & set(_span(region.keys))]
        sounds.put(name, program, [*own, *rest], DRUM_BANK)
    return sounds


def add_aliases(sounds: SoundSet) -> None:
    """Let every General MIDI program and every common kit answer."""
    for program, others in ALIASES.items():
        for other in others:
            sounds.presets[0, other] = replace(sounds.presets[0, program], program=other)
    for kit, other in ((0, 48), (24, 26)):
        sounds.presets[DRUM_BANK, other] = replace(sounds.presets[DRUM_BANK, kit], program=other)


def louder(preset: Preset, gain_db: float) -> Preset:
    """The preset with its attenuation changed; at most down to none."""
    change = round(-gain_db * 10 / 0.4)
    regions = tuple(
        Region(
            region.keys,
            region.velocities,
            region.sample,
            {
                **region.generators,
                Gen.ATTENUATION: int(np.clip(region[Gen.ATTENUATION] + change, 0, 1440)),
            },
        )
        for region in preset.regions
    )
    return replace(preset, regions=regions)


def _span(keys: Range) -> range:
    return range(keys[0], keys[1] + 1)


class _Recordings:
    """Takes presets over from a SoundFont, each sample once and no longer than it sounds."""

    def __init__(self, font: SoundFont, sounds: SoundSet) -> None:
        self._font, self._sounds = font, sounds
        self._taken: dict[tuple[int, bool, bool], int] = {}

    def preset(self, program: int, *, drums: bool) -> Preset:
        preset = self._font.preset(program, drums=drums)
        regions = _thinned(preset.regions)
        if not drums and program not in STEREO:
            regions = _one_side(list(regions))
        prompt = not drums and program in PROMPT
        return replace(preset, regions=tuple(self._region(region, prompt) for region in regions))

    def _region(self, region: Region, prompt: bool) -> Region:
        played = {
            number: value
            for number, value in region.generators.items()
            if number in _PLAYED and value != DEFAULTS.get(number, 0)
        }
        return replace(region, sample=self._sample(region, prompt), generators=played)

    def _sample(self, region: Region, prompt: bool) -> int:
        looped = region[Gen.LOOP_MODE] == LOOP
        place = (region.sample, looped, prompt)
        if place not in self._taken:
            sample = self._font.sample(region.sample)
            cut = _looped(sample) if looped else _ended(sample)
            self._taken[place] = self._sounds.add(_prompt(cut) if prompt else cut)
        return self._taken[place]


def _thinned(regions: Iterable[Region]) -> Iterable[Region]:
    """The regions, those that only differ by velocity joined in pairs if there are many.

    The format counts generators in 16 bits. The lowest stays alone; of a pair the louder stays.
    """
    groups: dict[tuple[Range, int, int], list[Region]] = {}
    for region in regions:
        groups.setdefault((region.keys, region.sample, region[Gen.PAN]), []).append(region)
    for group in groups.values():
        group.sort(key=lambda region: region.velocities)
        if len(group) <= MAX_LAYERS:
            yield from group
            continue
        yield group[0]
        for low in range(1, len(group), 2):
            louder_one = group[min(low + 1, len(group) - 1)]
            joined = (group[low].velocities[0], louder_one.velocities[1])
            yield replace(louder_one, velocities=joined)


def _one_side(regions: list[Region]) -> Iterable[Region]:
    """Of regions panned hard left and right at the same keys, the left ones, in the middle."""
    left = {(r.keys, r.velocities) for r in regions if r[Gen.PAN] <= -450}
    for region in regions:
        if abs(region[Gen.PAN]) < 450 or (region.keys, region.velocities) not in left:
            yield region
        elif region[Gen.PAN] < 0:
            yield replace(region, generators={**region.generators, Gen.PAN: 0})


def _looped(sample: Sample) -> Sample:
    """Without DC, and without what lies far behind the loop.

    A little stays, so that the end of the compressed sound does not reach into the loop.
    """
    offset = sample.samples[sample.loop[0] : sample.loop[1]].mean()
    return replace(sample, samples=sample.samples[: sample.loop[1] + 2048] - offset)


def _prompt(sample: Sample) -> Sample:
    """Without what is more than 2 ms before a tenth of the attack's peak."""
    attack = np.abs(sample.samples[: round(0.3 * sample.sample_rate)])
    start = int(np.argmax(attack > 0.1 * attack.max())) - round(0.002 * sample.sample_rate)
    if start <= 0 or (sample.loop[1] > 0 and sample.loop[0] <= start):
        return sample
    samples = sample.samples[start:].copy()
    fade = round(0.0015 * sample.sample_rate)
    samples[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    loop = (max(0, sample.loop[0] - start), max(0, sample.loop[1] - start))
    return replace(sample, samples=samples, loop=loop)


def _ended(sample: Sample) -> Sample:
    """Without DC, and without the end that is below -66 dB."""
    sample = replace(sample, samples=sample.samples - sample.samples.mean())
    loud = np.flatnonzero(np.abs(sample.samples) > 5e-4 * np.abs(sample.samples).max())
    end = min(sample.samples.size, int(loud[-1]) + 256)
    samples = sample.samples[:end].copy()
    samples[-256:] *= np.linspace(1, 0, samples[-256:].size, dtype=np.float32)
    return replace(sample, samples=samples, loop=(0, 0))


@dataclass(frozen=True)
class _Stroke:
    """One drum of a computed kit."""

    key: int
    sample: Sample
    choke: int = 0
    pan: int = 0
    dull: Sequence[int] = (9600, 11_600)
    """Cutoff in cents of soft and of medium strokes."""
    cents: int = 0


_METAL_DULL = (12_300, 13_000)


def _kit_regions(sounds: SoundSet, strokes: Iterable[_Stroke]) -> Iterable[Region]:
    known: dict[str, int] = {}
    for stroke in strokes:
        if stroke.sample.name not in known:
            known[stroke.sample.name] = sounds.add(stroke.sample)
        generators: dict[int, int] = {
            Gen.PAN: stroke.pan,
            Gen.SCALE_TUNING: 0,
            Gen.ROOT_KEY: 60,
            Gen.RELEASE: 1200,
            Gen.ATTENUATION: 400,
        }
        if stroke.cents:
            generators |= {
                Gen.COARSE_TUNE: round(stroke.cents / 100),
                Gen.FINE_TUNE: stroke.cents - 100 * round(stroke.cents / 100),
            }
        if stroke.choke:
            generators[Gen.CHOKE_GROUP] = stroke.choke
        for velocities, cutoff in (((0, 60), 0), ((61, 95), 1), ((96, 127), None)):
            filtered = {} if cutoff is None else {int(Gen.FILTER_CUTOFF): stroke.dull[cutoff]}
            yield Region(
                (stroke.key, stroke.key),
                velocities,
                known[stroke.sample.name],
                {**generators, **filtered},
            )


def _strokes_909() -> Iterable[_Stroke]:
    yield _Stroke(35, made.kick_909(hard=True))
    yield _Stroke(36, made.kick_909(hard=False))
    yield _Stroke(37, made.rim("909 rim", 1750.0, 530.0), pan=40)
    yield _Stroke(38, made.snare_909(bright=False))
    yield _Stroke(39, made.clap(bright=True), pan=-30)
    yield _Stroke(40, made.snare_909(bright=True))
    hats = ("909 hat closed", 0.035), ("909 hat pedal", 0.06), ("909 hat open", 0.28)
    for key, (name, tau) in zip((42, 44, 46), hats, strict=True):
        hat = made.hat(name, tau=tau, stretch=1.65, noise_share=0.5, low=6500.0)
        yield _Stroke(key, hat, choke=1, pan=90, dull=_METAL_DULL)
    tones = (75.0, 88.0, 104.0, 124.0, 148.0, 176.0)
    for place, (key, hertz) in enumerate(zip((41, 43, 45, 47, 48, 50), tones, strict=True)):
        yield _Stroke(key, made.tom(f"909 tom {key}", hertz, punch=0.7), pan=150 - 60 * place)
    crash = made.cymbal("909 crash", tau=0.75, low=2600.0)
    ride = made.cymbal("909 ride", tau=0.5, low=3400.0, ping=0.1)
    yield _Stroke(49, crash, pan=-140, dull=_METAL_DULL)
    yield _Stroke(57, crash, pan=140, cents=-150, dull=_METAL_DULL)
    yield _Stroke(51, ride, pan=120, dull=_METAL_DULL)
    yield _Stroke(59, ride, pan=120, cents=120, dull=_METAL_DULL)
    yield _Stroke(56, made.cowbell(), pan=60)
    yield _Stroke(
        70, made.shaker("909 maracas", attack=0.004, tau=0.022), pan=-80, dull=_METAL_DULL
    )
    yield _Stroke(82, made.shaker("909 shaker", attack=0.018, tau=0.035), pan=-80, dull=_METAL_DULL)


def _strokes_808() -> Iterable[_Stroke]:
    yield _Stroke(35, made.kick_808(long=True))
    yield _Stroke(36, made.kick_808(long=False))
    yield _Stroke(37, made.rim("808 rim", 1667.0, 455.0), pan=40)
    yield _Stroke(38, made.snare_808())
    yield _Stroke(39, made.clap(bright=False), pan=-30)
    yield _Stroke(40, made.snare_808(), cents=200)
    hats = ("808 hat closed", 0.025), ("808 hat pedal", 0.045), ("808 hat open", 0.22)
    for key, (name, tau) in zip((42, 44, 46), hats, strict=True):
        hat = made.hat(name, tau=tau, stretch=1.0, noise_share=0.06, low=7000.0)
        yield _Stroke(key, hat, choke=1, pan=90, dull=_METAL_DULL)
    tones = (68.0, 80.0, 96.0, 116.0, 140.0, 168.0)
    for place, (key, hertz) in enumerate(zip((41, 43, 45, 47, 48, 50), tones, strict=True)):
        yield _Stroke(key, made.tom(f"808 tom {key}", hertz, punch=0.25), pan=150 - 60 * place)
    cymbal = made.cymbal("808 cymbal", tau=0.9, low=3000.0)
    ride = made.cymbal("808 ride", tau=0.45, low=4200.0, ping=0.06)
    yield _Stroke(49, cymbal, pan=-140, dull=_METAL_DULL)
    yield _Stroke(57, cymbal, pan=140, cents=-120, dull=_METAL_DULL)
    yield _Stroke(51, ride, pan=120, dull=_METAL_DULL)
    yield _Stroke(59, ride, pan=120, cents=120, dull=_METAL_DULL)
    yield _Stroke(56, made.cowbell(), pan=60)
    for key, hertz in ((62, 370.0), (63, 330.0), (64, 220.0)):
        yield _Stroke(key, made.conga_808(f"808 conga {key}", hertz), pan=-60)
    yield _Stroke(
        70, made.shaker("808 maracas", attack=0.003, tau=0.014), pan=-80, dull=_METAL_DULL
    )
    yield _Stroke(75, made.claves(), pan=50)
    yield _Stroke(82, made.shaker("808 shaker", attack=0.015, tau=0.03), pan=-80, dull=_METAL_DULL)


@dataclass(frozen=True)
class _Tone:
    """A computed instrument: how its samples are made, and its envelopes."""

    name: str
    program: int
    roots: Sequence[int]
    spectrum: made.Spectrum
    shape: Mapping[Gen, int]
    detune_cents: Sequence[float] = (0.0,)
    octaves: Sequence[tuple[int, float]] = ((0, 1.0),)
    stereo: bool = False
    phases: bool = False
    soft_cents: int = 1500
    """How much lower the filter of soft notes is."""


def _seconds(value: float) -> int:
    """A time in timecents."""
    return round(1200 * np.log2(value))


def _hertz(value: float) -> int:
    """A frequency in absolute cents."""
    return round(1200 * np.log2(value / 8.176))


_LOW, _WIDE = range(24, 73, 8), range(36, 91, 9)


def _tones() -> Iterable[_Tone]:
    yield _Tone(
        "Drawbar Organ",
        16,
        _WIDE,
        made.drawbars,
        {Gen.ATTACK: _seconds(0.005), Gen.RELEASE: _seconds(0.25)},
        detune_cents=(-2.5, 2.5),
        octaves=((-1, 1.0),),
        stereo=True,
        phases=True,
        soft_cents=0,
    )
    pluck = {
        Gen.FILTER_ENVELOPE: 4800,
        Gen.FILTER_DECAY: _seconds(0.28),
        Gen.FILTER_SUSTAIN: 1000,
        Gen.FILTER_Q: 40,
    }
    yield _Tone(
        "Synth Pluck Bass",
        37,
        _LOW,
        made.saw,
        {
            **pluck,
            Gen.FILTER_CUTOFF: _hertz(160),
            Gen.DECAY: _seconds(3.2),
            Gen.SUSTAIN: 1000,
            Gen.RELEASE: _seconds(0.4),
        },
        octaves=((0, 1.0), (-1, 0.35)),
    )
    yield _Tone(
        "Saw Bass",
        38,
        _LOW,
        made.saw,
        {
            Gen.FILTER_CUTOFF: _hertz(220),
            Gen.FILTER_ENVELOPE: 4000,
            Gen.FILTER_DECAY: _seconds(0.5),
            Gen.FILTER_SUSTAIN: 700,
            Gen.FILTER_Q: 60,
            Gen.RELEASE: _seconds(0.5),
        },
        detune_cents=(0.0, 8.0),
        octaves=((0, 1.0), (-1, 0.25)),
    )
    yield _Tone(
        "808 Sub Bass",
        39,
        _LOW,
        made.sub,
        {Gen.DECAY: _seconds(9.0), Gen.SUSTAIN: 1000, Gen.RELEASE: _seconds(0.7)},
        soft_cents=0,
    )
    yield _Tone(
        "Synth Strings",
        50,
        _WIDE,
        made.darkened(made.saw, 3500.0),
        {Gen.ATTACK: _seconds(0.18), Gen.RELEASE: _seconds(1.6)},
        detune_cents=(-11.0, -5.0, 0.0, 6.0, 12.0),
        stereo=True,
        phases=True,
    )
    yield _Tone(
        "Synth Brass",
        62,
        _WIDE,
        made.saw,
        {
            Gen.FILTER_CUTOFF: _hertz(500),
            Gen.FILTER_ENVELOPE: 4200,
            Gen.FILTER_ATTACK: _seconds(0.03),
            Gen.FILTER_DECAY: _seconds(0.9),
            Gen.FILTER_SUSTAIN: 450,
            Gen.ATTACK: _seconds(0.012),
            Gen.RELEASE: _seconds(0.6),
        },
        detune_cents=(-7.0, 0.0, 7.0),
        stereo=True,
        phases=True,
    )
    lead = {Gen.ATTACK: _seconds(0.006), Gen.RELEASE: _seconds(0.5)}
    yield _Tone("Square Lead", 80, _WIDE, made.darkened(made.square, 6000.0), lead)
    yield _Tone(
        "Saw Lead",
        81,
        _WIDE,
        made.darkened(made.saw, 7000.0),
        lead,
        detune_cents=(-6.0, 0.0, 6.0),
        phases=True,
    )
    yield _Tone(
        "Soft Lead", 82, _WIDE, made.soft, {**lead, Gen.ATTACK: _seconds(0.02)}, soft_cents=0
    )
    yield _Tone(
        "Synth Pluck",
        84,
        _WIDE,
        made.saw,
        {
            **pluck,
            Gen.FILTER_CUTOFF: _hertz(450),
            Gen.FILTER_Q: 20,
            Gen.DECAY: _seconds(4.0),
            Gen.SUSTAIN: 1000,
            Gen.RELEASE: _seconds(1.5),
        },
        detune_cents=(-5.0, 0.0, 5.0),
        phases=True,
        stereo=True,
    )
    yield _Tone(
        "Reese Bass",
        87,
        _LOW,
        made.darkened(made.saw, 1100.0, 1.5),
        {Gen.ATTACK: _seconds(0.008), Gen.RELEASE: _seconds(0.5)},
        detune_cents=(-14.0, 0.0, 14.0),
        phases=True,
    )
    yield _Tone(
        "Bell Pad",
        88,
        _WIDE,
        made.darkened(made.saw, 900.0, 1.5),
        {Gen.ATTACK: _seconds(0.25), Gen.RELEASE: _seconds(2.5)},
        detune_cents=(-6.0, 6.0),
        octaves=((0, 1.0), (1, 0.35), (2, 0.2)),
        stereo=True,
        phases=True,
        soft_cents=800,
    )
    yield _Tone(
        "Warm Pad",
        89,
        _WIDE,
        made.darkened(made.saw, 700.0, 1.5),
        {Gen.ATTACK: _seconds(0.35), Gen.RELEASE: _seconds(2.5)},
        detune_cents=(-9.0, -3.0, 4.0, 10.0),
        stereo=True,
        phases=True,
        soft_cents=800,
    )
    yield _Tone(
        "Supersaw",
        90,
        _WIDE,
        made.darkened(made.saw, 9000.0),
        {Gen.ATTACK: _seconds(0.006), Gen.RELEASE: _seconds(0.8)},
        detune_cents=(-17.0, -10.0, -4.0, 0.0, 5.0, 11.0, 18.0),
        stereo=True,
        phases=True,
        soft_cents=2400,
    )


def _add_tones(sounds: SoundSet) -> None:
    for tone in _tones():
        regions = list(_tone_regions(sounds, tone))
        if tone.program == 39:
            regions.append(
                Region(
                    ALL,
                    ALL,
                    sounds.add(made.knock()),
                    {Gen.SCALE_TUNING: 0, Gen.ATTENUATION: 350, Gen.RELEASE: 0},
                )
            )
        sounds.put(tone.name, tone.program, regions)
    roots = (60, 72, 84, 96)
    regions = [
        Region(
            keys,
            ALL,
            sounds.add(made.bell(root)),
            {Gen.ROOT_KEY: root, Gen.RELEASE: _seconds(3.0), Gen.ATTENUATION: 250},
        )
        for root, keys in zip(roots, _key_ranges(roots), strict=True)
    ]
    sounds.put("FM Bell", 98, regions)


def _tone_regions(sounds: SoundSet, tone: _Tone) -> Iterable[Region]:
    for place, (root, keys) in enumerate(zip(tone.roots, _key_ranges(tone.roots), strict=True)):
        for side, pan in (("L", -500), ("R", 500)) if tone.stereo else (("", 0),):
            sample = made.tone(
                f"{tone.name[:13]} {root}{side}",
                root,
                tone.spectrum,
                detune_cents=[-c if side == "R" else c for c in tone.detune_cents],
                octaves=tone.octaves,
                seed=2 * place + (side == "R") if tone.phases else None,
            )
            index = sounds.add(sample)
            for velocities, share in (((0, 60), 1.0), ((61, 95), 0.4), ((96, 127), 0.0)):
                shape = dict(tone.shape)
                if share and tone.soft_cents:
                    open_at = shape.get(Gen.FILTER_CUTOFF, 12_800)
                    shape[Gen.FILTER_CUTOFF] = open_at - round(share * tone.soft_cents)
                elif not tone.soft_cents and share:
                    continue
                yield Region(
                    keys,
                    velocities if tone.soft_cents else ALL,
                    index,
                    {
                        **{int(gen): value for gen, value in shape.items()},
                        Gen.LOOP_MODE: LOOP,
                        Gen.ROOT_KEY: root,
                        Gen.PAN: pan,
                        Gen.ATTENUATION: 250,
                    },
                )


def _key_ranges(roots: Sequence[int]) -> list[Range]:
    """Which keys each root plays: the nearest, upward rather than down."""
    edges = [
        0,
        *(1 + (low + high) // 2 for low, high in pairwise(roots)),
        128,
    ]
    return [(low, high - 1) for low, high in pairwise(edges)]
