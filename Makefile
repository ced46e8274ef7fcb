# make demo · test · quick · fuzz · attack · check · bench · takes · train-default        (PYTHON=python3.12 make … to choose)
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
    $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
    && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet
INSTALLED_BY := requirements.txt pyproject.toml setup.py
DEMO = $(firstword $(sort $(wildcard data/demo/*.mp4)))

# Files go to as many processes as there are processors; conftest.py decides. Bytecode is kept:
# it holds the type checks that tests run with, and weaving them in takes long.
PYTEST = PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL = -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick fuzz attack check bench takes train-default clean

demo: $(VENV)/runtime.stamp
	@mkdir -p out
	$(BIN)/dancetomusic generate $(DEMO) out/demo_score.wav out/demo_score.mp4
	$(BIN)/dancetomusic generate $(DEMO) out/demo_pose2audio.wav out/demo_pose2audio.mp4 \
	    --instrument pose2audio
	@echo "out/demo_score.*: a score, planned from the dance, played from sampled instruments (the default)"
	@echo "out/demo_pose2audio.*: sound written by the neural network Pose2Audio"

test: $(VENV)/dev.stamp
	$(PYTEST) -m realtime tests; alone=$$?; \
	    $(PYTEST) -m "not realtime" $(PARALLEL) && exit $$alone

quick: $(VENV)/dev.stamp
	$(PYTEST) -m "not slow and not realtime" $(PARALLEL)

fuzz: $(VENV)/dev.stamp
	FUZZ_EXAMPLES=3000 $(PYTEST) tests/fuzz

attack: $(VENV)/dev.stamp
	$(INSTALL) -c requirements.txt -e .[attack]
	$(BIN)/python -m tests.fuzz.videos
	$(BIN)/python -m tests.fuzz.kills
	$(BIN)/python -m tests.fuzz.page
	$(BIN)/python -m benchmarks.soak_app

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/run.py

# Takes of rendered dancers: videos stand for the camera, their sound for the sound card.
takes: runs/takes_set/manifest.parquet

runs/takes_set/manifest.parquet: | $(VENV)/dev.stamp
	$(BIN)/python building_tools/synthesize_dataset.py ../shared/data/groove runs/dancers \
	    --dancers 8 --seconds 40 --seed 17 --render_video --video_height 320
	for video in runs/dancers/*.mp4; do \
	    $(BIN)/dancetomusic capture --takes_folder runs/takes --seconds 40 \
	        --camera $$video --sound_input $$video || exit; \
	done
	$(BIN)/dancetomusic build --input_folder runs/takes --output_path runs/takes_set \
	    --max_seq_len 10 --separator none

train-default: $(VENV)/dev.stamp takes
	for run in codec_base codec_decoder codec pose_encoder pose2audio_base pose2audio pose2audio_score_base pose2audio_score pose_encoder_causal pose2audio_causal \
	    pose2score wavenet_base wavenet_wild wavenet wavenet_frames_front wavenet_frames_base wavenet_frames motion_vae_base motion_vae motion_vae_500ms dance_gan \
	    beat_network beat_network_real; do \
	    model=$$(echo $$run | sed -E 's/(_(base|decoder|score|real|wild|frames|front|500ms|causal))+$$//'); \
	    $(BIN)/dancetomusic train --model $$model \
	        --config configs/$$run.yaml --output runs/$$run || exit; \
	done

clean:
	rm -rf out build dist *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: $(INSTALLED_BY) | $(BIN)/python
	$(INSTALL) -r requirements.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(INSTALLED_BY) | $(BIN)/python
	$(INSTALL) -c requirements.txt -e .[dev]
	@touch $@ $(VENV)/runtime.stamp
