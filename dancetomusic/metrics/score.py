"""How musical a score is, and how closely it follows the dance: form, density, hits, harmony.

Times are in seconds, positions in beats; a metric without anything to measure is NaN; those
that are compared with chance draw it from the generator that they are given.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.stats import spearmanr

from dancetomusic.metrics.bootstrap import known_mean
from dancetomusic.metrics.calibration import beats_right
from dancetomusic.metrics.sound_harmony import repeated_form
from dancetomusic.score.accents import ACCENT
from dancetomusic.score.grooves import fill_strokes, find_fills
from dancetomusic.score.harmony import SCALES, parse_key
from dancetomusic.score.notes import Score
from dancetomusic.score.style import DRUM_KEYS

HIT_TOLERANCE_S = 0.05
BASS_WEIGHT = 0.5
"""Weight of the bass against the chords where a bar's chord is named."""

SHUFFLES = 200
TOGETHER_S = 0.03
"""Two notes this near are struck together."""

STEPS_PER_BEAT = 4
_KICKS = (DRUM_KEYS["kick"], DRUM_KEYS["kick2"])
_PITCHED = ("bass", "chords", "lead")


def bar_chords(score: Score) -> Int64[np.ndarray, " bars"]:
    """The triad that bass and chords sound most like in each bar.

    Templates of the 24 major and minor triads, the root counting a little more, on how long each
    pitch class sounds; the bass of the first half of the bar counts ``BASS_WEIGHT``, chords 1.

    Returns:
        The root's pitch class, +12 of a minor triad, +24 where only the bass plays, so that the
        triad is open; -1 where both are silent.
    """
    bass, chords = _chroma(score, "bass", share=0.5), _chroma(score, "chords")
    chroma = BASS_WEIGHT * _shares(bass) + _shares(chords)
    templates = np.zeros((24, 12))
    for root in range(12):
        for minor in (0, 1):
            steps = [root, (root + 4 - minor) % 12, (root + 7) % 12]
            templates[root + 12 * minor, steps] = (1.2, 1.0, 1.0)
    found = (chroma @ templates.T).argmax(axis=1)
    found = np.where(chords.any(axis=1), found, 24 + bass.argmax(axis=1))
    return np.where(chroma.any(axis=1), found, -1).astype(np.int64)


def harmonic_form(score: Score) -> tuple[float, float]:
    """Share of bars whose root and chord come again after four bars, and after fewer.

    Of all sections but the ending. NaN without bars to compare; silent bars are left out, and where
    only the bass plays the root decides.

    Returns:
        The share at four bars, and the mean of the shares at each shorter lag.
    """
    chords = bar_chords(score)
    if score.sections:
        chords = chords[: score.sections[-1].first_bar]
    return repeated_form(chords)


def in_key_share(score: Score) -> float:
    """Share of pitched sound that belongs to the score's key; minor has all three forms."""
    key = parse_key(score.key)
    steps = set(SCALES[key.mode]) | ({9, 11} if key.mode == "minor" else set())
    classes = [(key.tonic + step) % 12 for step in steps]
    total = sum(_chroma(score, name).sum(axis=0) for name in _names(score, _PITCHED))
    amount = np.asarray(total, np.float64).reshape(-1)
    return float(amount[classes].sum() / amount.sum()) if amount.sum() > 0 else float("nan")


def fill_bars(score: Score) -> Bool[np.ndarray, " bars"]:
    """Bars in which the drums play a fill: clearly more strokes on its drums than is usual."""
    clock = score.clock
    drums = score.track("drums").notes
    bars = clock.bar_of(drums.start + 0.04)
    strokes = np.array(
        [
            fill_strokes(
                drums.start[bars == bar] - clock.bar_starts[bar],
                drums.pitch[bars == bar],
                drums.velocity[bars == bar],
                float(max(clock.bar_length(bar), 1)),
            )
            for bar in range(clock.n_bars)
        ],
        np.int64,
    )
    return find_fills(strokes)


def fill_rates(score: Score) -> tuple[float, float]:
    """Share of section ends with a fill, and of the other bars.

    A section's end is its last bar; that of the ending, which has no fill, does not count, but the
    bar before its last hit may have one.
    """
    fills = fill_bars(score)
    last = [s.first_bar + s.n_bars - 1 for s in score.sections[:-1]]
    ends = np.zeros(fills.size, bool)
    ends[last] = True
    others = ~ends
    if score.sections:
        others[score.sections[-1].first_bar :] = False
    if score.clock.beat_numbers[0] != 1:
        others[0] = False
    at_ends = float(fills[ends].mean()) if ends.any() else float("nan")
    return at_ends, float(fills[others].mean()) if others.any() else float("nan")


def bar_density(score: Score) -> Float64[np.ndarray, " bars"]:
    """Notes a beat of all tracks, in each bar; notes struck together in a chord are one."""
    clock = score.clock
    counts = np.zeros(clock.n_bars)
    for track in score.tracks:
        starts = track.notes.start
        if not track.is_drum:
            starts = np.unique(np.round(starts * 12) / 12)
        np.add.at(counts, clock.bar_of(starts + 0.04), 1.0)
    lengths = np.array([max(clock.bar_length(bar), 1) for bar in range(clock.n_bars)])
    return counts / lengths


def tracks_playing(score: Score) -> Int64[np.ndarray, " bars"]:
    """Tracks that strike a note in each bar."""
    clock = score.clock
    playing = np.zeros(clock.n_bars, np.int64)
    for track in score.tracks:
        playing[np.unique(clock.bar_of(track.notes.start + 0.04))] += 1
    return playing


def follows_energy(
    values: Float64[np.ndarray, " bars"],
    energy: Float64[np.ndarray, " bars"],
    rng: np.random.Generator,
) -> float:
    """Spearman's correlation with energy over that with energy shuffled, in [-2, 2].

    NaN below four bars, or where one of the two is the same in all bars.
    """
    if values.size < 4 or np.ptp(values) == 0 or np.ptp(energy) == 0:
        return float("nan")
    real = float(spearmanr(values, energy).statistic)
    chance = [spearmanr(values, rng.permutation(energy)).statistic for _ in range(20)]
    return real - float(np.mean(chance))


def accent_times(score: Score) -> Float64[np.ndarray, " accents"]:
    """When accents are struck: notes of ``ACCENT`` or more in drums or chords, in seconds."""
    times = [
        score.seconds(track)[0][track.notes.velocity >= ACCENT]
        for track in score.tracks
        if track.is_drum or track.name == "chords"
    ]
    return np.unique(np.round(np.concatenate(times), 3)) if times else np.zeros(0)


def hits_answered(
    score: Score, hits_s: Float64[np.ndarray, " hits"], rng: np.random.Generator
) -> tuple[float, float]:
    """Share of hits with an accent within ``HIT_TOLERANCE_S``, and of hits at random times."""
    accents = accent_times(score)
    if not hits_s.size:
        return float("nan"), float("nan")
    if not accents.size:
        return 0.0, 0.0

    def share(times: np.ndarray) -> float:
        return float(beats_right(accents, times, HIT_TOLERANCE_S + 1e-9).mean())

    random = [share(rng.uniform(0, score.duration_s, hits_s.size)) for _ in range(SHUFFLES)]
    return share(hits_s), float(np.mean(random))


def bar_vectors(score: Score) -> Float64[np.ndarray, "tracks bars features"]:
    """What each track strikes in each whole bar: velocity by sixteenth and pitch, or drum.

    Bars of the most frequent length; others are left out.
    """
    clock = score.clock
    length = clock.beats_per_bar
    kept = [bar for bar in range(clock.n_bars) if clock.bar_length(bar) == length]
    rolls = np.zeros((len(score.tracks), clock.n_bars, length * STEPS_PER_BEAT, 128))
    for number, track in enumerate(score.tracks):
        starts = track.notes.start
        bars = clock.bar_of(starts + 0.04)
        steps = np.rint((starts - clock.bar_starts[bars]) * STEPS_PER_BEAT).astype(int)
        steps = np.clip(steps, 0, length * STEPS_PER_BEAT - 1)
        np.maximum.at(rolls[number], (bars, steps, track.notes.pitch), track.notes.velocity)
    return rolls[:, kept].reshape(len(score.tracks), len(kept), -1)


def self_likeness(score: Score, period: int = 4) -> float:
    """How alike bars at the same position in consecutive phrases are, in [0, 1]; NaN without any.

    Mean over tracks of the mean cosine similarity of bars that are ``period`` bars apart, where
    the track plays in both.
    """
    found = []
    for vectors in bar_vectors(score):
        if len(vectors) > period:
            found.append(_alike(vectors[:-period], vectors[period:]))
    return known_mean(found)


def likeness(score: Score, other: Score) -> float:
    """How alike two pieces on the same bars are: as :func:`self_likeness`, bar against same bar.

    1 is the same music; NaN if they share no track that plays in the same bars.
    """
    found = []
    for first, second in zip(bar_vectors(score), bar_vectors(other), strict=False):
        n_bars = min(len(first), len(second))
        if first.shape[1] == second.shape[1] and n_bars:
            found.append(_alike(first[:n_bars], second[:n_bars]))
    return known_mean(found)


def bass_on_kick(score: Score) -> tuple[float, float]:
    """Share of bass notes struck with the bass drum, and of its strokes with a bass note.

    Over bars in which both play.
    """
    drums, bass = score.track("drums"), score.track("bass")
    clock = score.clock
    is_kick = np.isin(drums.notes.pitch, _KICKS)
    kick_bars = set(clock.bar_of(drums.notes.start[is_kick] + 0.04).tolist())
    bass_bars = set(clock.bar_of(bass.notes.start + 0.04).tolist())
    both = kick_bars & bass_bars
    kicks = _seconds_in(score, drums.notes.start[is_kick], both)
    notes = _seconds_in(score, bass.notes.start, both)
    return _together(notes, kicks), _together(kicks, notes)


def chord_tone_share(score: Score) -> float:
    """Share of the lead's notes on the beat that are of their bar's harmony.

    That is the pitch classes that chords or bass sound for a twelfth of the bar's sound or more.
    """
    lead, clock = score.track("lead").notes, score.clock
    harmony = _shares(_chroma(score, "chords")) + _shares(_chroma(score, "bass"))
    on_beat = np.abs(lead.start - np.round(lead.start)) < 0.04
    bars = clock.bar_of(np.round(lead.start[on_beat]))
    known = harmony[bars].any(axis=1)
    tones = harmony[bars, lead.pitch[on_beat] % 12] >= 1 / 12
    return float(tones[known].mean()) if known.any() else float("nan")


def semitone_rubs(score: Score) -> float:
    """Share of the lead's time in which it is a semitone or minor ninth from a chord's note."""
    lead, chords = score.track("lead").notes, score.track("chords").notes
    rubbing = total = 0.0
    for start, end, pitch in zip(lead.start, lead.end, lead.pitch, strict=True):
        overlap = np.minimum(end, chords.end) - np.maximum(start, chords.start)
        apart = np.abs(chords.pitch - pitch)
        near = (overlap > 0) & np.isin(apart, (1, 13))
        total += float(end - start)
        rubbing += float(overlap[near].max(initial=0.0))
    return rubbing / total if total else float("nan")


def register_overlap(score: Score) -> float:
    """Share of the lead's notes that lie below the highest chord note that sounds with them."""
    lead, chords = score.track("lead").notes, score.track("chords").notes
    below = []
    for start, pitch in zip(lead.start + 0.02, lead.pitch, strict=True):
        sounding = chords.pitch[(chords.start <= start) & (chords.end > start)]
        if sounding.size:
            below.append(pitch < sounding.max())
    return float(np.mean(below)) if below else float("nan")


def _chroma(score: Score, name: str, share: float = 1.0) -> Float64[np.ndarray, "bars 12"]:
    """Beats that each pitch class of a track sounds in the first share of each bar."""
    clock, notes = score.clock, score.track(name).notes
    chroma = np.zeros((clock.n_bars, 12))
    edges = np.append(clock.bar_starts, clock.n_beats).astype(np.float64)
    for bar in range(clock.n_bars):
        end = edges[bar] + share * (edges[bar + 1] - edges[bar])
        overlap = np.minimum(notes.end, end) - np.maximum(notes.start, edges[bar])
        np.add.at(chroma[bar], notes.pitch % 12, np.maximum(overlap, 0.0))
    return chroma


def _shares(chroma: np.ndarray) -> np.ndarray:
    return chroma / np.maximum(chroma.sum(axis=1, keepdims=True), 1e-9)


def _names(score: Score, names: tuple[str, ...]) -> list[str]:
    return [track.name for track in score.tracks if track.name in names]


def _alike(vectors: np.ndarray, others: np.ndarray) -> float:
    """Mean cosine similarity of rows where both have something; NaN without any."""
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
    sounding = norms > 0
    if not sounding.any():
        return float("nan")
    return float(((vectors * others).sum(axis=1)[sounding] / norms[sounding]).mean())


def _seconds_in(score: Score, beats: np.ndarray, bars: set[int]) -> np.ndarray:
    inside = np.isin(score.clock.bar_of(beats + 0.04), list(bars))
    return np.asarray(score.clock.seconds(beats[inside]))


def _together(times: np.ndarray, others: np.ndarray) -> float:
    if not times.size:
        return float("nan")
    if not others.size:
        return 0.0
    return float((np.abs(times[:, None] - others[None, :]).min(axis=1) <= TOGETHER_S).mean())
