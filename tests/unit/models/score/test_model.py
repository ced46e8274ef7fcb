"""The score as an instrument: what is chosen, what is made, what is refused before any work."""

from pathlib import Path

import numpy as np
import pytest

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import InputError, OutputError
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.score.midi import read_midi
from dancetomusic.score.mix import sum_stems
from dancetomusic.synthesis.choreography import choreograph


@pytest.fixture(scope="module")
def model():
    return DanceToMusic.from_pretrained()


@pytest.fixture(scope="module")
def poses():
    world = choreograph("steps", 120.0, 8.0, seed=0).world
    return fully_visible(world, 24.0)


@pytest.fixture(scope="module")
def music(model, poses):
    return model.generate(poses, bpm=120.0, style="house", key="A minor", loudness_lufs=None)


@pytest.mark.slow
def test_it_plays_what_was_asked_for_in_stereo(music, poses):
    assert music.waveform.sample_rate == 44_100 and music.waveform.samples.shape[0] == 2
    assert music.waveform.duration_s == pytest.approx(poses.duration_s, abs=1e-3)
    assert (music.score.style, music.score.key) == ("house", "A minor")
    assert music.about.startswith("house in A minor")
    assert [track.name for track in music.score.tracks] == ["drums", "bass", "chords", "lead"]


@pytest.mark.slow
def test_stems_sum_to_the_mix_and_the_score_is_written(music, tmp_path):
    mix = sum_stems(music.stems)
    assert np.array_equal(mix.samples, music.waveform.samples)
    assert {path.name for path in music.save_stems(tmp_path / "stems")} == {
        "drums.wav", "bass.wav", "chords.wav", "lead.wav",
    }  # fmt: skip
    music.save(tmp_path / "out.mid")
    tracks = {
        track.name: track.notes.start.size for track in read_midi(tmp_path / "out.mid").tracks
    }
    assert tracks["drums"] == music.score.track("drums").notes.start.size


@pytest.mark.slow
def test_the_seed_decides_and_a_given_score_is_played(model, poses, music, tmp_path):
    asked = {"bpm": 120.0, "style": "house", "key": "A minor", "loudness_lufs": None}
    again = model.generate(poses, **asked)
    other = model.generate(poses, seed=1, **asked)
    assert np.array_equal(again.waveform.samples, music.waveform.samples)
    assert not np.array_equal(other.waveform.samples, music.waveform.samples)
    music.save(tmp_path / "out.mid")
    given = model.generate(poses, bpm=120.0, midi=tmp_path / "out.mid").score
    mine = music.score.track("bass").notes
    assert given.track("bass").notes.pitch.tolist() == mine.pitch.tolist()
    assert np.abs(given.track("bass").notes.start - mine.start).max() < 0.01


@pytest.mark.slow
def test_a_style_of_ones_own_is_played_from_its_file(model, poses, tmp_path):
    import dancetomusic.score.style as styles

    mine = tmp_path / "mine.yaml"
    text = (Path(styles.__file__).parent / "styles" / "waltz.yaml").read_text(encoding="utf-8")
    mine.write_text(text, encoding="utf-8")
    made = model.generate(poses, bpm=120.0, style_file=mine, loudness_lufs=None)
    assert made.score.style == "mine"
    assert made.about.startswith("mine in")
    with pytest.raises(InputError, match="style is"):  # a name never becomes a path
        model.generate(poses, bpm=120.0, style=str(mine))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"key": "H"}, "key is 'H'"),
        ({"style_file": Path("absent.yaml")}, "cannot read"),
        ({"energy": 1.5}, "energy is 1.5"),
        ({"energy": float("nan")}, "energy is nan"),
        ({"midi": __file__}, "no MIDI file"),
        ({"soundfont": __file__}, "no usable SoundFont"),
        ({"programs": {"flute": 3}}, "no track flute"),
        ({"temperature": 1.0}, "no choice of temperature"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_before_any_work(model, choices, message):
    with pytest.raises(InputError, match=message):
        model.check(choices)
    with pytest.raises(InputError, match=message):
        model.generate("absent.mp4", **choices)


@pytest.mark.slow(1)
def test_energy_decides_how_much_is_played(model, poses, music):
    asked = {"bpm": 120.0, "style": "house", "key": "A minor", "loudness_lufs": None}

    def n_notes(score):
        return sum(len(track.notes) for track in score.tracks)

    calm, lively = (model.generate(poses, energy=energy, **asked).score for energy in (-1.0, 1.0))
    assert 1.5 * n_notes(calm) < n_notes(music.score) < n_notes(lively)
    assert [s.name for s in calm.sections] == [s.name for s in lively.sections]


def test_a_codec_is_refused():
    with pytest.raises(InputError, match="without a codec"):
        DanceToMusic.from_pretrained(codec="codec")


@pytest.mark.slow
def test_a_model_without_a_score_says_so_before_any_work(model, tmp_path):
    model.check_outputs([tmp_path / "out.mid"], tmp_path / "stems")
    other = DanceToMusic.from_pretrained("motion_vae")
    other.check_outputs([tmp_path / "out.wav"])
    with pytest.raises(OutputError, match="plays no score"):
        other.check_outputs([tmp_path / "out.wav", tmp_path / "out.mid"])
    with pytest.raises(OutputError, match="plays no tracks"):
        other.check_outputs([], tmp_path / "stems")
    with pytest.raises(InputError, match="no choice of score. Leave --score out"):
        other.check({"midi": tmp_path / "out.mid"})
