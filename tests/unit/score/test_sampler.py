from __future__ import annotations

import numpy as np
import pytest

from building_tools.soundfont.write import write_soundfont
from dancetomusic.errors import InputError
from dancetomusic.score.notes import BeatClock, Notes, Score, Track
from dancetomusic.score.sampler import SAMPLE_RATE, render_stems
from dancetomusic.score.soundfont import DRUM_BANK, Gen, Preset, Region, Sample, SoundFont

ALL = (0, 127)
N_TONE = 4410  # ten periods of 100 Hz twice over, with room at both ends


def font_file(path, *, quality: float | None = None):
    """A kit of two clicks, of which the second is long and chokes, and a looped sine."""
    random = np.random.default_rng(0)
    click = np.exp(-np.arange(800) / 60.0) * np.cos(np.arange(800) / 3.0)
    wash = 0.3 * random.standard_normal(SAMPLE_RATE)
    sine = 0.5 * np.sin(2 * np.pi * 441.0 * np.arange(N_TONE) / SAMPLE_RATE)
    samples = [
        Sample(name, sound.astype(np.float32), SAMPLE_RATE, root=69, loop=loop)
        for name, sound, loop in (
            ("click", click, (0, 0)),
            ("wash", wash, (0, 0)),
            ("sine", sine, (1000, 3000)),
        )
    ]
    fixed = {Gen.SCALE_TUNING: 0}
    kit = (
        Region((36, 36), ALL, 0, fixed),
        Region((42, 42), ALL, 0, {**fixed, Gen.CHOKE_GROUP: 1}),
        Region((46, 46), ALL, 1, {**fixed, Gen.CHOKE_GROUP: 1}),
    )
    tone = (
        Region(ALL, (0, 99), 2, {Gen.LOOP_MODE: 1, Gen.FINE_TUNE: -4, Gen.RELEASE: -1200}),
        Region(ALL, (100, 127), 2, {Gen.LOOP_MODE: 1, Gen.FINE_TUNE: -4, Gen.PAN: 500}),
    )
    write_soundfont(
        path,
        samples,
        [Preset("Kit", DRUM_BANK, 0, kit), Preset("Tone", 0, 5, tone)],
        {"INAM": "test"},
        quality=quality,
    )
    return path


def stems_of(*arguments):
    return dict(render_stems(*arguments))


@pytest.fixture(scope="module")
def font(tmp_path_factory):
    return SoundFont(font_file(tmp_path_factory.mktemp("font") / "a.sf2"))


def score(*tracks: Track, n_beats: int = 9, first_s: float = 0.0) -> Score:
    times = first_s + np.cumsum(np.r_[0.0, 0.5 + 0.05 * np.sin(np.arange(n_beats - 1))])
    numbers = (np.arange(n_beats) % 4 + 1).astype(np.int64)
    return Score(BeatClock(times, numbers), tracks)


def drums(*rows) -> Track:
    return Track("drums", 0, True, Notes.of(rows))


def tone(*rows) -> Track:
    return Track("tone", 5, False, Notes.of(rows))


def level(samples: np.ndarray, start_s: float, end_s: float) -> float:
    part = samples[:, round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    return float(np.sqrt((part**2).mean()))


def test_every_note_starts_at_its_time(font):
    rows = [(beat + shift, 0.1, 36, 100) for beat in range(8) for shift in (0.0, 0.37)]
    played = score(drums(*rows), first_s=-0.05)
    sound = stems_of(played, font)["drums"].samples[0]
    loud = np.flatnonzero(np.abs(sound) > 0.02)
    onsets = loud[np.diff(loud, prepend=-(10**6)) > 4000]
    start_s, _ = played.seconds(played.tracks[0])
    expected = start_s[start_s > -0.02].clip(0)
    assert onsets / SAMPLE_RATE == pytest.approx(expected, abs=1.1 / SAMPLE_RATE)


def test_stems_are_stereo_and_equally_long(font):
    played = score(drums((0, 1, 36, 100)), tone((0, 99, 69, 100)))
    stems = stems_of(played, font)
    frames = round(played.duration_s * SAMPLE_RATE)
    assert {name: stem.samples.shape for name, stem in stems.items()} == {
        "drums": (2, frames),
        "tone": (2, frames),
    }
    assert all(stem.sample_rate == SAMPLE_RATE for stem in stems.values())


def test_a_looped_note_holds_its_pitch_until_it_is_let_go(font):
    played = score(tone((1, 4, 69, 90)))
    sound = stems_of(played, font)["tone"].samples
    start_s, end_s = (float(value[0]) for value in played.seconds(played.tracks[0]))
    assert level(sound, 0.0, start_s - 0.001) == 0.0
    held = sound[0, round((start_s + 0.1) * SAMPLE_RATE) : round((end_s - 0.01) * SAMPLE_RATE)]
    spectrum = np.abs(np.fft.rfft(held * np.hanning(held.size), 1 << 18))
    assert spectrum.argmax() * SAMPLE_RATE / (1 << 18) == pytest.approx(440.0, abs=0.4)
    assert np.abs(np.diff(held, 2)).max() < 1.05 * np.abs(np.diff(held[:2000], 2)).max()
    # The release of half a second loses 100 dB: a tenth of it 20 dB.
    before, after = level(sound, end_s - 0.02, end_s), level(sound, end_s + 0.09, end_s + 0.11)
    assert 20 * np.log10(before / after) == pytest.approx(20.0, abs=2.5)


def test_transposed_notes_are_in_tune(font):
    sound = stems_of(score(tone((0, 8, 62, 90))), font)["tone"].samples[0][4410:100_000]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 1 << 19))
    found = spectrum.argmax() * SAMPLE_RATE / (1 << 19)
    assert 1200 * np.log2(found / (440.0 * 2 ** (-7 / 12))) == pytest.approx(0.0, abs=2.0)


def test_velocity_chooses_regions_and_acts_as_its_square(font):
    def loudness(velocity):
        return stems_of(score(tone((0, 4, 69, velocity))), font)["tone"].samples

    soft, medium, hard = loudness(40), loudness(80), loudness(120)
    assert level(medium, 0, 1) / level(soft, 0, 1) == pytest.approx(4.0, rel=1e-3)
    assert np.abs(soft[0] - soft[1]).max() < 1e-6
    assert np.abs(hard[0]).max() == 0.0  # panned to the right


def test_drums_ring_out_unless_choked(font):
    open_hat = (0.0, 0.01, 46, 100)
    free = stems_of(score(drums(open_hat)), font)["drums"].samples
    choked = stems_of(score(drums(open_hat, (1.0, 0.1, 42, 100))), font)["drums"].samples
    other = stems_of(score(drums(open_hat, (1.0, 0.1, 36, 100))), font)["drums"].samples
    assert level(free, 0.7, 0.9) > 0.05
    assert level(other, 0.7, 0.9) > 0.05
    assert level(choked, 0.7, 0.9) == 0.0
    assert level(choked, 0.3, 0.45) == pytest.approx(level(free, 0.3, 0.45))


def test_compressed_samples_sound_the_same(font, tmp_path):
    compressed = SoundFont(font_file(tmp_path / "a.sf3", quality=0.9))
    played = score(tone((0, 4, 60, 90)))
    one, other = (stems_of(played, f)["tone"].samples for f in (font, compressed))
    assert np.abs(one - other).max() < 0.03 * np.abs(one).max()


def test_writing_twice_gives_the_same_bytes(tmp_path):
    one, other = (font_file(tmp_path / name, quality=0.5) for name in ("a.sf3", "b.sf3"))
    assert one.read_bytes() == other.read_bytes()


def test_of_decoded_samples_the_last_used_are_kept(tmp_path, monkeypatch):
    font = SoundFont(font_file(tmp_path / "a.sf2"))
    sizes = [font.sample(index).samples.nbytes for index in range(3)]
    monkeypatch.setattr("dancetomusic.score.soundfont.MAX_KEPT_BYTES", sizes[1] + sizes[2])
    font = SoundFont(tmp_path / "a.sf2")
    first, second, _ = (font.sample(index) for index in range(3))
    assert font.sample(1) is second
    again = font.sample(0)
    assert again is not first
    np.testing.assert_array_equal(again.samples, first.samples)


def test_programs_can_be_replaced_by_name(font):
    played = score(Track("lead", 81, False, Notes.of([(0, 1, 69, 90)])))
    assert stems_of(played, font, {"lead": 5})["lead"].samples.any()
    with pytest.raises(InputError, match=r"no program 81\. Choose one of 5\."):
        stems_of(played, font)
    with pytest.raises(InputError, match="no track bass"):
        stems_of(played, font, {"bass": 5})


def test_a_track_without_notes_is_silence_and_needs_no_preset(font):
    played = score(Track("lead", 81, False, Notes.empty()))
    assert not stems_of(played, font)["lead"].samples.any()


def test_files_that_are_no_soundfont_say_so(tmp_path):
    path = tmp_path / "a.sf2"
    with pytest.raises(InputError, match="cannot read SoundFont"):
        SoundFont(path)
    for data in (b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", b"MThd" + bytes(99)):
        path.write_bytes(data)
        with pytest.raises(InputError, match="no usable SoundFont"):
            SoundFont(path)
    with path.open("wb") as file:
        file.truncate(2 * 1024**3 + 1)
    with pytest.raises(InputError, match="2.0 GB"):
        SoundFont(path)


def test_damaged_soundfonts_never_escape(tmp_path):
    path = tmp_path / "a.sf3"
    good = font_file(path, quality=0.3).read_bytes()
    random = np.random.default_rng(2)
    played = score(drums((0, 1, 46, 100)), tone((0, 2, 60, 90)), n_beats=4)
    for _ in range(100):
        data = bytearray(good)
        where = random.choice([0, len(data) - 1200])  # the tables lie at the end
        for place in random.integers(where, len(data), random.integers(1, 8)):
            data[place] = random.integers(0, 256)
        if random.random() < 0.2:
            data = data[: random.integers(1, len(data))]
        path.write_bytes(bytes(data))
        try:
            stems = stems_of(played, path)
        except InputError as error:
            assert error.remedy
        else:
            assert all(np.isfinite(stem.samples).all() for stem in stems.values())
