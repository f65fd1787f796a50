"""The words of a sweep: one spelling each, and what they ask for."""

from __future__ import annotations

import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.sweep_specs import parse_budgets, parse_encoder, parse_intervention, parse_policy
from onevision_encoder.tokens.pipeline import TokenizeConfig

BASE = TokenizeConfig.of(num_frames=16, max_patches=64, time="seconds", ticks_per_second=2.0, on_damage="error")


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("codec", "codec:fused", {"policy": "codec"}),
        ("uniform", "uniform", {"policy": "uniform"}),
        (
            "codec:bits,interval=frame,anchors=0",
            "codec:bits,anchors=0,interval=frame",
            {"policy": "codec", "score": "bits", "anchors": 0, "interval": "frame"},
        ),
        ("codec:fused@x264proxy", "codec:fused@x264proxy", {"score": "fused", "provider": "x264proxy"}),
        ("codec:bits,camera=none", "codec:bits,camera=none", {"camera": "none"}),
        ("random,seed=3", "random,seed=3", {"seed": 3}),
        ("uniform_lowres,num_frames=64", "uniform_lowres,num_frames=64", {"num_frames": 64}),
        ("codec,anchors=null", "codec:fused,anchors=null", {"anchors": None}),
        ("codec,anchor_share=0.5,scope=chunk", "codec:fused,anchor_share=0.5,scope=chunk", {"anchor_share": 0.5}),
    ],
)
def test_policies(text: str, name: str, options: dict[str, object]) -> None:
    spec = parse_policy(text)
    assert spec.name == name == parse_policy(name).name
    assert options.items() <= dict(spec.options).items()
    config = spec.config(128, BASE)
    flat = {k: v for part in config.as_dict().values() for k, v in part.items()}
    expected = {"num_frames": 16, "max_patches": 64, "time": "seconds", "on_damage": "error", "budget": 128, **options}
    assert expected.items() <= flat.items()


@pytest.mark.parametrize(
    "text",
    [
        *("", "codek", "codec:fastest", "codec@nobody", "codec,anchors", "codec,anchors=0,anchors=1"),
        *("uniform,anchors=0", "codec,budget=3", "codec,policy=random", "codec:bits,score=fused", "uniform:bits"),
        *("codec,short=cap", "codec,x=1"),
    ],
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_policy(text).config(128, BASE)


def test_budgets() -> None:
    assert parse_budgets(["64..4096"]) == (64, 128, 256, 512, 1024, 2048, 4096)
    assert parse_budgets(["100..450", 64, "100"]) == (64, 100, 200, 400)
    for bad in ([], ["0"], ["64.."], ["9..3"], ["-4"], ["many"], ["12.5%"]):
        with pytest.raises(InvalidArgumentError):
            parse_budgets(bad)


def test_encoders_and_interventions() -> None:
    spec = parse_encoder("tiny,rope_mode=rotary,hidden_size=64")
    assert (spec.name, spec.model) == ("tiny,hidden_size=64,rope_mode=rotary", "tiny")
    assert dict(spec.overrides) == {"rope_mode": "rotary", "hidden_size": 64}
    half = parse_intervention("train:non_motion@0.5")
    assert (half.name, half.kind, half.share, half.trained) == ("train:non_motion@0.5", "non_motion", 0.5, True)
    assert parse_intervention("shuffled@1").name == "shuffled"
    for bad in ("turned", "none@0.5", "train:none", "shuffled@0", "shuffled@2", "shuffled@x"):
        with pytest.raises(InvalidArgumentError):
            parse_intervention(bad)
    with pytest.raises(InvalidArgumentError):
        parse_encoder(",a=1")
