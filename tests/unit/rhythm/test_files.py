import numpy as np
import pytest

from dancetomusic.errors import InputError, OutputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.files import LARGEST_BYTES, load_beats, save_beats


def test_saved_beats_come_back(tmp_path):
    track = steady_grid(93.0, 12.0, first_beat_s=0.2, beats_per_bar=3)
    save_beats(tmp_path / "beats.csv", track)
    read = load_beats(tmp_path / "beats.csv", 12.0)
    np.testing.assert_allclose(read.beat_times, track.beat_times, atol=5e-4)
    assert read.beat_numbers.tolist() == track.beat_numbers.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "time_s,beat\n0.5,1\n1.0,2\n",
        "0.5,1\n1.0,2\n",
        "# tapped by hand\n\n0.5\n1.0\n",
        "\ufeff0.5;1\n1.0;2\n",
        "0.5\t1\n1.0\t2",
    ],
)
def test_forms_that_are_understood(tmp_path, text):
    file = tmp_path / "beats.csv"
    file.write_text(text, encoding="utf-8")
    track = load_beats(file, 2.0)
    np.testing.assert_allclose(track.beat_times, [0.0, 0.5, 1.0, 1.5])
    assert track.beat_numbers[1] == 1


@pytest.mark.parametrize(
    "text",
    ["", "time_s,beat\n", "0.5,1\nhello,2\n", "a,b\nc,d\n", "1.0,1\n0.5,2\n", "0.5,inf"],
)
def test_other_forms_are_refused(tmp_path, text):
    file = tmp_path / "beats.csv"
    file.write_text(text)
    with pytest.raises(InputError):
        load_beats(file, 2.0)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        load_beats(tmp_path / "none.csv", 2.0)
    with pytest.raises(OutputError):
        save_beats(tmp_path / "none" / "beats.csv", steady_grid(100.0, 2.0))


@pytest.mark.parametrize(
    "text",
    [
        "0,5;1\n1,0;2\n1,5;3\n",
        "0,5\t1\n1,0\t2\n1,5\t3\n",
        "0,5 1\n1,0 2\n1,5 3\n",
        "0,500\n1,000\n1,500\n",
        "0.5, 1\n1.0, 2\n1.5, 3\n",
        "0.500000\t0.500000\t1\n1.000000\t1.000000\t2\n1.500000\t1.500000\t3\n",
        "0,500000\t0,600000\tbeat\n1,000000\t1,100000\tbeat\n1,500000\t1,600000\tbeat\n",
        "time_s,beat,source,certainty\n0.500,1,sound,0.97\n1.000,2,sound,0.97\n1.500,3,sound,0.97\n",
    ],
)
def test_beats_as_other_programs_write_them(tmp_path, text):
    file = tmp_path / "beats.txt"
    file.write_text(text)
    track = load_beats(file, 2.0)
    np.testing.assert_allclose(track.beat_times, [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_array_equal(track.beat_numbers[1:], [1, 2, 3])
    assert track.source == "file" and track.certainty == 1.0


@pytest.mark.parametrize(
    ("text", "where", "remedy"),
    [
        ("1.0,1\n0.5,2\n", "line 2: 0.5 s does not come after 1 s", "Sort"),
        ("time_s,beat\n0.5,1\nnan,2\n", "line 3: the time is nan", "Write one line"),
        ("0.5,1\n1.0,2\n60.0,3\n", "line 3: a beat at 60 s is outside", "from the start"),
        ("-9,1\n1.0,2\n", "line 1: a beat at -9 s is outside", "from the start"),
        ("0.5,1\n", "has 1 beats", "at least two"),
        ("0.5,1\n0.5,2\n", "line 2", "Sort"),
    ],
)
def test_unusable_beats_are_refused_with_their_line(tmp_path, text, where, remedy):
    file = tmp_path / "beats.csv"
    file.write_text(text)
    with pytest.raises(InputError) as refusal:
        load_beats(file, 2.0)
    assert where in refusal.value.problem and remedy in refusal.value.remedy


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_encodings_of_spreadsheets(tmp_path, encoding):
    file = tmp_path / "beats.csv"
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    text = "Zeit für den Schlag;Zahl\r\n0,5;1\r\n1,0;2\r\n"
    file.write_bytes(mark + text.encode(encoding))
    track = load_beats(file, 2.0)
    np.testing.assert_allclose(track.beat_times, [0.0, 0.5, 1.0, 1.5])
    assert track.beat_numbers[1:3].tolist() == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        '"time_s","beat"\n"0.5","1"\n"1.0","2"\n"1.5","3"\n',
        "0.5\t0.5\t1\n\\\t100.0\t200.0\n1.0\t1.0\t2\n\\\t90.0\t95.0\n1.5\t1.5\t3\n",
        "0.500000000,120.00 bpm\n1.000000000,120.19 bpm\n1.500000000,119.80 bpm\n",
        "0.5,New Point\n1.0,New Point\n1.5,New Point\n",
        "0,512 downbeat\n1,012 beat\n1,512 beat\n",
    ],
)
def test_quotes_and_labels_are_no_obstacle(tmp_path, text):
    file = tmp_path / "beats.csv"
    file.write_text(text)
    track = load_beats(file, 2.0)
    np.testing.assert_allclose(np.diff(track.beat_times), 0.5)
    assert track.beat_numbers[-3:].tolist() == [1, 2, 3]


@pytest.mark.parametrize("place", ["1e30", "inf", "nan", "0", "-1", "17", "1.5"])
def test_a_place_that_is_none_is_refused_with_its_line(tmp_path, place):
    file = tmp_path / "beats.csv"
    file.write_text(f"0.5,1\n1.0,{place}\n1.5,3\n")
    with pytest.raises(InputError, match="line 2"):
        load_beats(file, 2.0)


def test_the_first_beat_is_never_taken_for_a_header(tmp_path):
    file = tmp_path / "beats.csv"
    file.write_text("0.5,inf\n1.0,2\n1.5,3\n")
    with pytest.raises(InputError, match="line 1"):
        load_beats(file, 2.0)


def test_a_file_that_is_no_list_of_beats_is_refused_shortly(tmp_path):
    file = tmp_path / "dance.mp4"
    file.write_bytes(bytes(range(32, 256)) * 1000 + b"\n" + b"\x00\xff" * 100_000)
    with pytest.raises(InputError) as refusal:
        load_beats(file, 2.0)
    assert len(refusal.value.problem) < 500 + len(str(file))
    with file.open("wb") as opened:
        opened.truncate(LARGEST_BYTES + 1)
    with pytest.raises(InputError, match="larger than any list"):
        load_beats(file, 2.0)
