import json
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancetomusic.config import config_from_dict, config_to_dict, load_config_values
from dancetomusic.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    width: int = 2


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner = Inner()
    sizes: tuple[int, ...] = ()
    pattern: Literal["delay", "flatten"] = "delay"
    note: str | None = None
    bias: bool = False


configs = st.builds(
    Outer,
    rate=st.floats(allow_nan=False),
    inner=st.builds(Inner, width=st.integers()),
    sizes=st.lists(st.integers()).map(tuple),
    pattern=st.sampled_from(["delay", "flatten"]),
    note=st.none() | st.text(),
    bias=st.booleans(),
)


@pytest.mark.slow
@given(configs)
def test_a_config_survives_plain_values_and_json(config):
    assert config_from_dict(Outer, config_to_dict(config)) == config
    assert config_from_dict(Outer, json.loads(json.dumps(config_to_dict(config)))) == config


def test_a_whole_number_is_a_float_where_one_is_wanted():
    rate = config_from_dict(Outer, {"rate": 3}).rate
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("3E4", 3e4), ("1.5e-3", 1.5e-3), ("-.5e+2", -50.0), ("2.e1", 20.0)],
)
@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_power_of_ten_is_a_float_in_yaml(tmp_path, text, value, suffix):
    file = tmp_path / f"config{suffix}"
    file.write_text(f"rate: {text}\nnote: '{text}'\n")
    config = config_from_dict(Outer, load_config_values(file))
    assert config.rate == value
    assert config.note == text  # text stays text where text is wanted


@pytest.mark.parametrize("text", ["1e", "e3", "1e-3x", "1_0e3", "0x1e3", ". e3", "1e3 "])
def test_what_is_no_number_is_no_float(text):
    with pytest.raises(ConfigError, match="rate is"):
        config_from_dict(Outer, {"rate": text})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.0, "widht": 3}, "no key 'widht'.*Known keys: bias, inner"),
        ({"rate": 1.0, "inner": {"height": 3}}, "Inner has no key 'height'"),
        ({}, "rate"),
        ({"rate": "fast"}, "rate is 'fast'.*type float"),
        ({"rate": True}, "rate is True"),
        ({"rate": 1.0, "inner": {"width": 1.5}}, "width is 1.5.*type int"),
        ({"rate": 1.0, "inner": {"width": True}}, "width is True"),
        ({"rate": 1.0, "pattern": "spiral"}, "pattern is 'spiral'.*'delay', 'flatten'"),
        ({"rate": 1.0, "sizes": [1, "two"]}, "sizes is 'two'"),
        ({"rate": 1.0, "note": 7}, "note is 7"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(values, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict(Outer, values)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", "rate: 2\ninner: {width: 5}\n"), ("a.json", '{"rate": 2, "inner": {"width": 5}}')],
)
def test_yaml_and_json_read_alike(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert config_from_dict(Outer, load_config_values(tmp_path / name)) == Outer(
        rate=2.0, inner=Inner(5)
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.yaml", b"rate: [1"), ("a.json", b"{"), ("a.yaml", b"\xff\xfe\x00"), ("a.yaml", b"")],
)
def test_a_malformed_file_is_a_config_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError):
        config_from_dict(Outer, load_config_values(tmp_path / name))


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        config_from_dict(Outer, load_config_values(tmp_path / "absent.yaml"))
