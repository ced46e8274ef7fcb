import pytest
import torch

from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.models.dance_gan.critic import (
    N_SHOWN,
    MovementCritic,
    NoiseEncoder,
    PoseCritic,
    show_movement,
    show_pose,
)
from dancetomusic.models.dance_gan.network import (
    MAX_NOISE,
    N_CLOCK,
    DanceGanConfig,
    DanceGenerator,
    clock,
    knot_shares,
    load_dance_gan,
)

TINY = DanceGanConfig(latent=4, noise=3, width=8, depth=1, hidden=8, heard=4, choosing=6)


def beats(n_frames=48, bpm=120.0):
    return (torch.arange(n_frames) / 24.0 * bpm / 60.0)[None]


def test_the_clock_counts_the_beat_and_its_tempo():
    counted = clock(beats(bpm=100.0), 24.0)
    assert counted.shape == (1, 48, N_CLOCK)
    assert counted[0, 0, :2].tolist() == pytest.approx([1.0, 0.0])
    assert counted[0, :, -1] == pytest.approx(torch.zeros(48), abs=1e-3)
    whole = clock(beats() + 12.0, 24.0)
    assert torch.allclose(whole, clock(beats(), 24.0), atol=1e-4)


def test_every_frame_is_between_two_knots():
    shares = knot_shares(beats(), 5)
    assert torch.allclose(shares.sum(dim=1), torch.ones(1, 48))
    assert shares[0, 0, 0] == 1.0
    assert shares[0, 2, 24] == pytest.approx(1.0)
    assert ((shares > 0).sum(dim=1) <= 2).all()


@pytest.mark.parametrize("windows", ["plain", "wavegan", "unet"])
def test_a_dance_in_two_parts_is_that_in_one(windows):
    generator = DanceGenerator(DanceGanConfig(windows=windows, hidden=16, heard=4, width=16))
    noise = torch.randn(1, 48, generator.config.noise)
    audio_features, counted = generator.encode_audio(torch.rand(1, 192, 32)), clock(beats(), 24.0)
    whole, _ = generator(noise, counted, audio_features)
    first, state = generator(noise[:, :20], counted[:, :20], audio_features[:, :20])
    second, _ = generator(noise[:, 20:], counted[:, 20:], audio_features[:, 20:], state)
    joined = torch.cat([first.directions, second.directions], dim=1)
    assert torch.allclose(joined, whole.directions, atol=1e-5)
    assert torch.allclose(whole.directions.norm(dim=-1), torch.ones(1, 48, 24), atol=1e-4)


def test_before_the_stage_of_music_audio_features_are_zero():
    generator = DanceGenerator(DanceGanConfig(stage="sequences", heard=4))
    assert not generator.encode_audio(torch.rand(1, 96, 32)).any()


def test_noise_follows_from_music_and_from_what_was_drawn():
    generator = DanceGenerator(TINY)
    audio_features, tempo, chance = torch.randn(1, 5, 4), torch.zeros(1, 5), torch.randn(1, 5, 3)
    drawn = generator.choose_noise(audio_features, tempo, chance)
    assert torch.equal(drawn.noise, generator.choose_noise(audio_features, tempo, chance).noise)
    assert torch.allclose(drawn.noise, drawn.mean + drawn.spread * chance)
    again = generator.choose_noise(audio_features, tempo, chance, given=drawn.noise)
    assert torch.allclose(again.noise, drawn.noise)
    other = generator.choose_noise(audio_features, tempo, chance, given=drawn.noise + 1.0)
    assert torch.allclose(other.noise[:, 0], drawn.noise[:, 0])
    assert not torch.allclose(other.noise[:, 1], drawn.noise[:, 1])
    assert not torch.allclose(
        generator.choose_noise(audio_features + 1, tempo, chance).noise, drawn.noise
    )


def test_unforced_noise_continues_from_what_was_sampled():
    generator = DanceGenerator(TINY)
    audio_features, tempo, chance = torch.randn(1, 3, 4), torch.zeros(1, 3), torch.randn(1, 3, 3)
    drawn = generator.choose_noise(audio_features, tempo, chance).noise
    forced = torch.tensor([[True, False, True]])
    mixed = generator.choose_noise(
        audio_features, tempo, chance, given=drawn + 1.0, forced=forced
    ).noise
    given = torch.stack([drawn[:, 0] + 1.0, mixed[:, 1], drawn[:, 2]], dim=1)
    again = generator.choose_noise(audio_features, tempo, chance, given=given).noise
    assert torch.allclose(again, mixed, atol=1e-6)
    free = generator.choose_noise(
        audio_features, tempo, chance, given=drawn + 1.0, forced=~forced
    ).noise
    assert torch.allclose(free[:, 1], drawn[:, 1])


def test_noise_of_a_long_dance_does_not_grow_without_end():
    generator = DanceGenerator(TINY)
    torch.nn.init.eye_(generator.carry_on.weight)
    audio_features, tempo = torch.randn(1, 400, 4), torch.zeros(1, 400)
    noise = generator.choose_noise(audio_features, tempo, torch.randn(1, 400, 3)).noise
    assert noise.abs().max() == MAX_NOISE


def test_a_critic_judges_each_example_by_itself_and_hears_the_music():
    critic = MovementCritic(TINY, width=8)
    shown, bands = torch.randn(3, N_SHOWN, 48), torch.rand(3, 32, 192)
    ticks = clock(beats().expand(3, -1), 24.0).transpose(1, 2)
    scores = critic(shown, bands, ticks)
    assert scores.shape == (3,)
    assert torch.allclose(critic(shown[:1], bands[:1], ticks[:1]), scores[:1], atol=1e-5)
    assert not torch.allclose(critic(shown, bands.flip(0), ticks)[0], scores[0])


def test_poses_are_judged_by_their_coordinates():
    generator = DanceGenerator(TINY)
    made = show_pose(generator.skeleton(generator.pose(torch.randn(6, 4))))
    assert PoseCritic(TINY)(made).shape == (6,)


def test_a_reader_says_what_is_near_each_knot():
    reader = NoiseEncoder(TINY, width=8)
    shown, latent, turning = torch.randn(1, N_SHOWN, 48), torch.randn(1, 48, 4), torch.zeros(1, 48)
    shares, counted = knot_shares(beats(), 5), clock(beats(), 24.0)
    mean, spread = reader(latent, shown, turning, counted, shares)
    assert mean.shape == spread.shape == (1, 5, 3)
    assert (spread > 0).all()
    changed, moved = shown.clone(), latent.clone()
    changed[:, :, 40:] += 1.0
    moved[:, 40:] += 1.0
    other = reader(moved, changed, turning, counted, shares)[0]
    assert torch.allclose(other[:, 0], mean[:, 0])
    assert not torch.allclose(other[:, 3], mean[:, 3])


def test_shown_movement_holds_places_changes_and_turning():
    generator = DanceGenerator(TINY)
    world = generator.skeleton(generator.pose(torch.randn(1, 10, 4)))
    shown = show_movement(world, torch.ones(1, 10))
    assert shown.shape == (1, N_SHOWN, 10)
    assert not shown[:, 69:138, 0].any()


def test_a_checkpoint_comes_back_and_others_are_refused(tmp_path):
    generator = DanceGenerator(TINY).eval()
    generator.save_pretrained(tmp_path / "run", {})
    again = load_dance_gan(tmp_path / "run")
    assert again.config == TINY
    latent = torch.randn(2, 4)
    assert torch.allclose(again.pose(latent), generator.pose(latent), atol=1e-2)
    with pytest.raises(CheckpointError, match="not 'sequences'"):
        load_dance_gan(tmp_path / "run", stage="sequences")
    save_checkpoint(tmp_path / "other", model="codec", config={}, tensors={}, metadata={})
    with pytest.raises(CheckpointError, match="'codec'"):
        load_dance_gan(tmp_path / "other")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_dance_gan(tmp_path)


@pytest.mark.parametrize("values", [{"latent": 0}, {"depth": -1}, {"noise": 0}])
def test_a_shape_out_of_range_is_refused(values):
    with pytest.raises(ConfigError):
        DanceGanConfig(**values)
