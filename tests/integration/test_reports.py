"""What people reported of tools like this one, a line or a short test for each.

``HELD_BY`` names the tests of what has tests of its own; the rest is tried here on the real
commands.
"""

import ast
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dancetomusic.cli import main
from dancetomusic.io.audio import read_audio
from dancetomusic.pose.files import load_poses, save_poses
from dancetomusic.synthesis.scene import write_video
from dancetomusic.types import PoseSequence

HELD_BY = {
    "A: nothing is sent or kept outside our cache": "integration/test_private.py::"
    "test_a_run_leaves_nothing_in_an_empty_home",
    "B: no command replaces its input": "unit/cli/test_outputs.py::"
    "test_commands_leave_their_input_alone",
    "B: two outputs alike": "unit/cli/test_outputs.py::test_no_file_is_written_twice",
    "C: a full disk behind a library's error": "unit/io/test_atomic.py::"
    "test_a_full_disk_that_a_library_hides_is_an_output_error",
    "D: links are written through": "unit/io/test_atomic.py::"
    "test_a_symbolic_link_is_written_through",
    "D: pipes": "unit/io/test_atomic.py::test_a_pipe_gets_the_content_and_stays",
    "D: permissions": "unit/io/test_atomic.py::test_a_file_keeps_its_permissions",
    "D: long names": "unit/io/test_atomic.py::test_the_longest_legal_name_can_be_written",
    "E: closed streams": "unit/cli/test_text.py::test_closed_streams",
    "E: signs that a terminal lacks": "unit/cli/test_text.py::"
    "test_characters_that_the_terminal_lacks_are_escaped",
    "E: names that are no text": "unit/cli/test_text.py::test_a_name_that_is_no_text_is_shown",
    "F: doubts": "unit/generate/test_doubts.py::test_doubts_are_said",
    "F: posters": "unit/pose/test_tracking.py::test_a_larger_poster_does_not_lead",
    "F: nobody moves": "unit/generate/test_doubts.py::test_nobody_moving_needs_a_tempo",
    "G: SIGTERM": "unit/cli/test_cli.py::test_sigterm_exits_143_and_leaves_nothing",
    "G: SIGTERM in train": "unit/training/test_loop.py::"
    "test_a_run_that_is_asked_to_end_saves_first",
    "G: interrupts of build": "integration/test_build.py::"
    "test_an_interrupt_finishes_the_clips_in_hand",
    "H: half the batch": "unit/training/test_loop.py::test_half_the_batch_twice_as_often_resumes",
    "H: longer": "unit/training/test_loop.py::test_a_finished_run_is_trained_for_longer",
    "I: lists of links": "unit/builder/test_sources.py::"
    "test_a_separator_that_is_named_and_decimal_commas",
    "I: spreadsheets": "unit/builder/test_sources.py::test_lists_as_spreadsheets_write_them",
    "I: powers of ten": "unit/cli/test_cli.py::test_a_power_of_ten_is_a_number_in_an_override",
    "I: long seeds": "unit/cli/test_cli.py::test_a_seed_that_no_generator_takes_is_refused",
    "I: beats of other programs": "unit/rhythm/test_files.py::"
    "test_beats_as_other_programs_write_them",
    "I: rekordbox": "unit/rhythm/test_grids.py::test_rekordbox_changes_its_tempo",
    "I: Ableton": "unit/rhythm/test_grids.py::test_ableton_warps_and_continues",
    "J: containers": "unit/io/test_mux.py::"
    "test_pictures_that_a_container_cannot_hold_are_re_encoded",
    "K: links in folders": "unit/generate/test_folder.py::"
    "test_links_to_videos_and_folders_are_followed",
    "L: late times": "unit/io/test_video.py::test_times_that_begin_late_are_no_damage",
    "L: nothing is downloaded twice": "unit/builder/test_download.py::"
    "test_times_that_begin_late_are_no_reason_to_download_again",
    "M: uploads": "integration/test_app_server.py::"
    "test_hostile_files_are_refused_and_the_server_lives",
    "M: HEAD": "unit/app/test_guard.py::test_what_can_be_got_can_be_asked_about",
    "M: forms": "unit/app/test_guard.py::test_a_form_is_told_how_to_send_the_file",
    "M: containers": "unit/app/test_uploads.py::"
    "test_containers_of_cameras_and_old_programs_are_taken",
    "M: broken uploads": "unit/app/test_uploads.py::"
    "test_an_upload_that_breaks_off_is_said_in_one_line",
    "M: unknown hosts": "unit/app/test_guard.py::test_a_host_that_is_not_ours_is_said",
    "M: proxies": "unit/app/test_guard.py::test_a_proxy_may_serve_it_under_a_path",
    "N: read-only home": "unit/io/test_cache.py::"
    "test_a_temporary_folder_stands_in_and_is_said_once",
    "N: little memory": "unit/cli/test_surroundings.py::test_too_little_memory_is_said",
    "N: pipes and links": "unit/cli/test_streams.py::test_links_are_downloaded_as_the_builder_does",
    "N: a file for a camera": "unit/builder/test_capture.py::"
    "test_a_file_stands_for_the_camera_at_its_own_pace",
    "O: photographs filmed by hand": "unit/builder/test_quality.py::"
    "test_each_fault_is_named_with_its_value_and_limit",
    "O: a song has one grid": "unit/builder/stages/test_beats.py::"
    "test_clips_of_a_song_lie_on_one_grid",
    "O: thumbnails": "unit/builder/test_contact_sheet.py::"
    "test_pictures_take_the_place_of_skeletons",
    "O: build says how far it is": "unit/cli/test_progress.py::"
    "test_a_build_says_how_far_it_is_from_time_to_time",
    "O: failures stay": "unit/builder/test_pipeline.py::test_failures_stay_in_later_summaries",
    "O: small sets": "unit/builder/test_pipeline.py::test_a_small_set_has_something_to_validate_on",
    "O: a second video that fails": "integration/test_app_browser.py::"
    "test_a_second_video_that_fails_leaves_the_first",
    "O: addresses of takes": "integration/test_app_browser.py::"
    "test_the_address_leads_back_to_the_takes",
    "O: jobs of another tab": "integration/test_app_browser.py::"
    "test_a_job_can_be_cancelled_from_a_page_that_was_loaded_again",
    "O: names of downloads": "unit/app/test_uploads.py::test_a_download_is_named_after_the_upload",
    "O: the sound leads": "unit/live/test_lead.py::test_the_beat_of_a_sound_is_known_on_the_clock",
    "O: taps": "unit/live/test_lead.py::test_three_taps_give_the_tempo_and_the_bar",
    "O: pressure": "unit/live/test_pressure.py::test_pictures_go_first_and_quality_last",
    "P: stretches": "integration/test_pose_real.py::"
    "test_stretches_give_what_one_pass_gives_whoever_looks",
    "P: only what is needed is decoded": "unit/io/test_video.py::"
    "test_before_a_part_only_pictures_that_others_need_are_decoded",
    "P: 8-bit weights": "unit/models/pose2audio/test_onnx_decoder.py::"
    "test_logits_stay_within_a_share_of_their_spread",
    "attacks: tags that are no text": "unit/io/test_video.py::"
    "test_tags_that_are_no_text_do_no_harm",
    "attacks: what a killed writer left": "unit/io/test_atomic.py::"
    "test_what_a_killed_writer_left_is_removed_and_what_others_write_is_not",
    "attacks: kills": "integration/test_build.py::"
    "test_twenty_kills_leave_the_set_of_an_uninterrupted_build",
}


@pytest.mark.parametrize("report", HELD_BY)
def test_every_report_has_its_test(repository: Path, report: str) -> None:
    file, name = HELD_BY[report].split("::")
    tree = ast.parse((repository / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def place(repository: Path, demo_dir: Path, tmp_path: Path) -> dict[str, object]:
    """Names that commands below use."""
    dancer = load_poses(demo_dir / "steps_128bpm.npz")
    still = np.repeat(dancer.world[:1], len(dancer), axis=0)
    jitter = np.random.default_rng(0).normal(0, 0.01, still.shape)
    save_poses(
        tmp_path / "still.npz",
        PoseSequence(
            world=(still + jitter).astype(np.float32),
            image=dancer.image,
            visibility=dancer.visibility,
            present=dancer.present,
            fps=dancer.fps,
        ),
    )
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loud.csv").write_text("0,5 forte\n", encoding="utf-8")
    return {
        "configs": repository / "configs",
        "poses": demo_dir / "steps_128bpm.npz",
        "video": demo_dir / "steps_128bpm.mp4",
        "tmp": tmp_path,
    }


def exit_code(command: str, place: dict[str, object]) -> object:
    with pytest.raises(SystemExit) as end:
        main([word.format(**place) for word in command.split()])
    return end.value.code


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("generate {poses} {tmp}/a.wav {tmp}/a.wav", "named twice"),
        ("train --model dance_gan --config {configs}/dance_gan.yaml --output {tmp}/file", "a file"),
        ("generate {poses} {tmp}/none/a.wav", "does not exist"),
        ("generate {tmp}/still.npz {tmp}/a.wav", "nobody moves"),
        ("generate {poses} {tmp}/a.wav --seed 99999999999999999999", "--seed"),
        ("generate {poses} {tmp}/a.wav --beats {tmp}/loud.csv", "loud.csv"),
        ("generate {poses} {tmp}/a.wav --beats_from radio", "radio"),
        ("live --camera 97 --output {tmp}/a.wav", "camera 97 cannot be opened"),
        ("live --video {video} --output {tmp}/a.wav --latency_json {tmp}/no/a.json", "not exist"),
        ("live --video {video} --output {tmp}/a.wav --beats_from sound", "no sound"),
        ("live --video {video} --output {tmp}/a.wav --bpm 500", "500"),
        ("live --video {video} --output {tmp}/a.wav --beats_from radio", "radio"),
    ],
)
@pytest.mark.slow
def test_refusals_are_one_line(
    place: dict[str, object], capfd: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    assert exit_code(command, place) == 2
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1 and said in printed
    assert not Path(str(place["tmp"]), "a.wav").exists()


@pytest.mark.slow
def test_a_still_dance_is_played_at_a_given_tempo_and_called_a_guess(
    place: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("generate {tmp}/still.npz {tmp}/a.wav --bpm 100", place) == 0
    printed = capsys.readouterr().out
    assert "a guess" in printed and "nobody moves" in printed and "100.0 BPM" in printed


@pytest.mark.slow
def test_names_that_are_no_text_long_names_and_a_midi_file_of_beats(
    place: dict[str, object], tmp_path: Path
) -> None:
    from dancetomusic.rhythm.beats import steady_grid
    from dancetomusic.score.midi import write_midi
    from dancetomusic.score.notes import BeatClock, Notes, Score, Track

    grid = steady_grid(111.0, 12.0)
    notes = Track("drums", 0, True, Notes.of([(0.0, 0.5, 36, 100)]))
    write_midi(Score(BeatClock(grid.beat_times, grid.beat_numbers), (notes,)), tmp_path / "b.mid")
    strange = os.fsdecode(b"caf\xe9.wav")
    long = "l" * 248 + ".mid"
    command = f"generate {{poses}} {{tmp}}/{strange} {{tmp}}/{long} --beats {{tmp}}/b.mid"
    assert exit_code(f"{command} --save_rhythm {{tmp}}/r.csv", place) == 0
    assert read_audio(tmp_path / strange) is not None and (tmp_path / long).stat().st_size
    times = np.loadtxt(tmp_path / "r.csv", delimiter=",", skiprows=1, usecols=0)
    assert np.allclose(np.diff(times), 60 / 111, atol=0.002)


@pytest.mark.slow
def test_printing_to_a_full_disk_is_one_line(repository: Path) -> None:
    with open("/dev/full", "w") as full:
        done = _command(repository, "info", stdout=full)
        _, said = done.communicate()
    assert done.returncode == 2 and said.count(b"\n") == 1 and b"No space left" in said


@pytest.mark.slow(20)
@pytest.mark.realtime
def test_a_write_that_fails_ends_the_performance(repository: Path, tmp_path: Path) -> None:
    video = _black(tmp_path / "black.mp4", seconds=180)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    began_s = time.monotonic()
    live = _command(
        repository,
        *("live", "--video", video, "--output", tmp_path / "a.wav"),
        env={"DANCETOMUSIC_CACHE": str(tmp_path / "cache")},
        preexec_fn=limit,
    )
    _, said = live.communicate(timeout=240)
    assert live.returncode == 2 and b"a.wav failed" in said and b"Traceback" not in said
    assert time.monotonic() - began_s < 170
    assert sorted(file.name for file in tmp_path.iterdir()) == ["black.mp4", "cache"]
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.suffix == ".onnx"]


@pytest.mark.slow(20)
@pytest.mark.realtime
def test_sigterm_closes_a_performance_whole(repository: Path, tmp_path: Path) -> None:
    video = _black(tmp_path / "black.mp4", seconds=60)
    live = _command(repository, "live", "--video", video, "--output", tmp_path / "a.wav")
    assert live.stdout is not None and b"playing" in live.stdout.readline()
    time.sleep(3)
    live.send_signal(signal.SIGTERM)
    _, said = live.communicate(timeout=60)
    assert live.returncode == 143 and b"terminated" in said
    assert soundfile.info(tmp_path / "a.wav").duration > 1.0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.wav", "black.mp4"]


@pytest.mark.slow(20)
@pytest.mark.realtime
def test_the_space_key_leads(repository: Path, demo_dir: Path, tmp_path: Path) -> None:
    """Tapped at a tempo that is not the dancer's, on a terminal."""
    import pty

    keyboard, terminal = pty.openpty()
    live = _command(
        repository,
        *("live", "--video", demo_dir / "steps_128bpm.mp4", "--output", tmp_path / "a.wav"),
        stdin=terminal,
    )
    assert live.stdout is not None and b"space" in live.stdout.readline()
    for _ in range(10):
        os.write(keyboard, b" ")
        time.sleep(0.6)
    said, _ = live.communicate(timeout=60)
    assert live.returncode == 0 and b"beat of the taps" in said
    bpm = float(said.split(b" BPM")[0].split()[-1])
    assert bpm == pytest.approx(100, abs=6)
    os.close(keyboard)
    os.close(terminal)


def _black(path: Path, seconds: int) -> Path:
    frame = np.zeros((64, 64, 3), np.uint8)
    write_video(path, (frame for _ in range(24 * seconds)), 24.0)
    return path


def _command(
    repository: Path, *words: object, env: dict[str, str] | None = None, **options: object
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dancetomusic.cli", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(repository), **(env or {})},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},  # type: ignore[call-overload]
    )
