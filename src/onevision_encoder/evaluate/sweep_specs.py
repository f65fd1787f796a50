"""The words that name what a sweep compares: policies, encoders, interventions, budgets. Light: no torch.

    POLICY[:SCORE][@PROVIDER][,option=value ...]     codec:bits,anchors=0,interval=frame   codec:fused@x264proxy
    ENCODER[,field=value ...]                        tiny   mite,rope_mode=rotary   path/to/checkpoint
    [train:]INTERVENTION[@SHARE]                     non_motion   other_video@0.5   train:shuffled
    NUMBER  or  LOW..HIGH                            256   64..4096 (doubling)

Options of a policy are those of ``TokenizeConfig.of``, budget apart, which is an axis of its own. Every word has one
canonical spelling, which is what results carry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from onevision_encoder.codec import ProviderName
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection import PolicyName, ScoreName
from onevision_encoder.tokens.pipeline import TokenizeConfig

InterventionName = Literal["none", "non_motion", "other_video", "shuffled"]
_POLICY = "POLICY[:SCORE][@PROVIDER][,option=value ...], such as codec:bits@x264proxy,anchors=0"


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """A policy with options of its own.

    Attributes:
        name: the canonical spelling. options: flat options of ``TokenizeConfig.of``, policy included.
    """

    name: str
    options: Mapping[str, Any]

    @property
    def policy(self) -> str:
        return str(self.options["policy"])

    def config(self, budget: int, base: TokenizeConfig) -> TokenizeConfig:
        """What reads tokens by this policy: ``base`` gives sampling, sizing, damage and times, ``budget`` is exact.

        Raises:
            InvalidArgumentError: options that no clip could satisfy, or that the policy does not read.
        """
        given = {k: v for part in (base.sampling, base.sizing, base.times) for k, v in asdict(part).items()}
        given["on_damage"] = base.signals.on_damage
        config = TokenizeConfig.of(**{**given, **self.options, "budget": budget})
        config.check_read()
        return config


def parse_policy(text: str) -> PolicySpec:
    """Raises InvalidArgumentError: not of the form above, or no such policy or score."""
    head, *rest = text.strip().split(",")
    head, at, provider = head.partition("@")
    policy, colon, score = head.partition(":")
    _one_of("policy", policy, get_args(PolicyName), text)
    options: dict[str, Any] = {"policy": policy}
    if colon:
        _one_of("score", score, get_args(ScoreName), text)
        options["score"] = score
    if at:
        _one_of("provider", provider, get_args(ProviderName), text)
        options["provider"] = provider
    for name, value in _assignments("policies", text, rest, _POLICY).items():
        if name in ("policy", "budget", "short") or name in options:
            allowed = "policy, score and provider written once, the budget given apart, and exact (no short)"
            raise InvalidArgumentError("policies", text, allowed)
        options[name] = value
    TokenizeConfig.of(**options).check_read()
    return PolicySpec(name=_policy_name(options), options=options)


def _policy_name(options: Mapping[str, Any]) -> str:
    """One spelling: score and provider before the comma, the rest sorted, policy codec always with its score."""
    rest = dict(options)
    name = str(rest.pop("policy"))
    score = rest.pop("score", "fused" if name == "codec" else None)
    provider = rest.pop("provider", None)
    name += f":{score}" if score else ""
    name += f"@{provider}" if provider and provider != "auto" else ""
    return ",".join([name, *(f"{key}={_spelt(rest[key])}" for key in sorted(rest))])


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """A preset (mode scratch), or anything ``load_encoder`` takes (mode probe), with overrides of its configuration."""

    name: str
    model: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


def parse_encoder(text: str) -> EncoderSpec:
    """Raises InvalidArgumentError: not of the form above."""
    model, *rest = text.strip().split(",")
    form = "ENCODER[,field=value ...], such as mite,rope_mode=rotary"
    if not model:
        raise InvalidArgumentError("encoders", text, form)
    overrides = _assignments("encoders", text, rest, form)
    name = ",".join([model, *(f"{key}={_spelt(overrides[key])}" for key in sorted(overrides))])
    return EncoderSpec(name=name, model=model, overrides=overrides)


@dataclass(frozen=True, kw_only=True)
class InterventionSpec:
    """What is done to tokens that a policy chose.

    Attributes:
        kind: see ``interventions.py``. share: of the tokens it applies to, above 0 and at most 1.
        trained: done to training tokens too; else only the test is disturbed, on a model trained without.
    """

    name: str = "none"
    kind: InterventionName = "none"
    share: float = 1.0
    trained: bool = False

    @property
    def done(self) -> str:
        """What happens to the tokens, wherever it happens."""
        return f"{self.kind}@{self.share:g}"


def parse_intervention(text: str) -> InterventionSpec:
    """Raises InvalidArgumentError: not of the form above."""
    word = text.strip()
    trained = word.startswith("train:")
    kind, at, share_text = word.removeprefix("train:").partition("@")
    _one_of("interventions", kind, get_args(InterventionName), text)
    try:
        share = float(share_text) if at else 1.0
    except ValueError:
        share = -1.0
    if not 0 < share <= 1 or (kind == "none" and (trained or at)):
        raise InvalidArgumentError("interventions", text, "[train:]NAME[@SHARE], share above 0 and at most 1")
    name = ("train:" if trained else "") + kind + (f"@{share:g}" if share != 1 else "")
    return InterventionSpec(name=name, kind=kind, share=share, trained=trained)  # type: ignore[arg-type]


def parse_budgets(words: Sequence[str | int]) -> tuple[int, ...]:
    """Numbers and doubling ranges, sorted, each once.

    Raises:
        InvalidArgumentError: nothing, or something that is neither.
    """
    found: set[int] = set()
    for word in words:
        low, dots, high = str(word).partition("..")
        allowed = "a number of tokens of at least 1, or LOW..HIGH, which doubles LOW as long as it is at most HIGH"
        if not low.isdecimal() or (dots and not high.isdecimal()):
            raise InvalidArgumentError("budgets", word, allowed)
        budget, last = int(low), int(high) if dots else int(low)
        if not 1 <= budget <= last:
            raise InvalidArgumentError("budgets", word, allowed)
        while budget <= last:
            found.add(budget)
            budget *= 2
    if not found:
        raise InvalidArgumentError("budgets", list(words), "at least one")
    return tuple(sorted(found))


def _assignments(name: str, text: str, words: Sequence[str], form: str) -> dict[str, Any]:
    """``key=value`` words; values as JSON where they are (numbers, true, null), else text."""
    out: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value or key in out:
            raise InvalidArgumentError(name, text, f"{form}, each option once")
        out[key] = _value(value)
    return out


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return {"None": None, "none": "none"}.get(text, text)
    return value if value is None or isinstance(value, bool | int | float) else text


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _one_of(name: str, value: str, choices: Sequence[str], text: str) -> None:
    if value not in choices:
        raise InvalidArgumentError(name, text, f"{value!r} should be one of {', '.join(choices)}")
