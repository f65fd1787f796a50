"""What a sweep is told to do, and the cells that follow from it. Light: no torch, so that a command line can use it.

A cell is (policy, budget, encoder, seed, fold, intervention); cells that share a trained model make a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, Literal, get_args

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.evaluate.probe_config import ProbeConfig
from onevision_encoder.evaluate.sweep_specs import (
    EncoderSpec,
    InterventionSpec,
    PolicySpec,
    parse_budgets,
    parse_encoder,
    parse_intervention,
    parse_policy,
)
from onevision_encoder.evaluate.tuning_config import TuneConfig
from onevision_encoder.tokens.pipeline import TokenizeConfig

Mode = Literal["scratch", "probe"]
Costs = Literal["with", "skip", "only"]


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Policies by budgets by encoders by interventions, each trained and tested by itself, seed by seed.

    Raises:
        InvalidArgumentError: a word that cannot be read (see ``sweep_specs``) or a value out of range.
    """

    policies: tuple[str, ...] = ("codec:bits", "codec:fused", "uniform", "uniform_lowres", "random", "run_length")
    """POLICY[:SCORE][@PROVIDER][,option=value ...], as in codec:bits,anchors=0 or codec:fused@x264proxy."""
    budgets: tuple[str, ...] = ("64", "128", "256")
    """Tokens a clip: numbers, or LOW..HIGH, which doubles LOW as far as HIGH."""
    encoders: tuple[str, ...] = (TuneConfig.preset,)
    """Mode scratch: PRESET[,field=value ...], fields of TuneConfig: mite,rope_mode=pairwise. Mode probe: a checkpoint
    folder, a hub id or a preset."""
    interventions: tuple[str, ...] = ("none",)
    """[train:]none, non_motion, other_video or shuffled[@SHARE]; train: in training too, else in the test alone."""
    reference: str | None = None
    """Policy that the others are compared with. None: uniform if it is there, else the first."""
    mode: Mode = "scratch"
    """scratch: each cell trains its encoder. probe: frozen encoders, small heads."""
    seeds: int = 3
    """Runs of every cell."""
    folds: int = 0
    """0: the published split. 2 or more: as many test sets out of all there is."""
    resamples: int = 2000
    """Of the bootstrap over test videos."""
    tune: TuneConfig = field(default_factory=TuneConfig)
    """How encoders are trained in mode scratch."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """The heads of mode probe; its seeds and folds are those of the sweep."""
    reading: TokenizeConfig = field(default_factory=lambda: TokenizeConfig.of(num_frames=16))
    """Sampling, sizing, damage and times of all policies; what a policy states of its own comes first."""

    def __post_init__(self) -> None:
        for name, choices in (("mode", Mode),):
            if getattr(self, name) not in get_args(choices):
                raise InvalidArgumentError(name, getattr(self, name), f"one of {', '.join(get_args(choices))}")
        for name in ("seeds", "resamples"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(name, getattr(self, name), "at least 1")
        if self.folds < 0 or self.folds == 1:
            raise InvalidArgumentError("folds", self.folds, "0, or at least 2")
        for name in ("policies", "encoders", "interventions"):
            words = getattr(self, name)
            names = [spec.name for spec in self._parsed(name)]
            if not names or len(set(names)) != len(names):
                raise InvalidArgumentError(name, words, "at least one, each once")
        if len(self.token_budgets) < 1:
            raise InvalidArgumentError("budgets", self.budgets, "at least one")
        if self.mode == "scratch":
            self._check_tuned()
        elif any(spec.overrides for spec in self.encoder_specs):
            raise InvalidArgumentError("encoders", self.encoders, "checkpoints as they are in mode probe")
        if self.mode == "probe" and any(spec.kind != "none" for spec in self.intervention_specs):
            raise InvalidArgumentError("interventions", self.interventions, "none in mode probe")
        if self.reference is not None and parse_policy(self.reference).name not in {p.name for p in self.policy_specs}:
            raise InvalidArgumentError("reference", self.reference, f"one of the policies {', '.join(self.policies)}")

    def _check_tuned(self) -> None:
        if self.tune.preset != TuneConfig().preset or self.tune.init != "scratch":
            given = (self.tune.init, self.tune.preset)
            raise InvalidArgumentError("tune", given, "init scratch, and the preset as a word of encoders")
        for spec in self.encoder_specs:
            self.tuned(spec)

    def tuned(self, encoder: EncoderSpec) -> TuneConfig:
        """How this encoder is trained. Raises InvalidArgumentError: a field that TuneConfig has not."""
        known = [f.name for f in fields(TuneConfig) if f.name not in ("preset", "init")]
        unknown = sorted(set(encoder.overrides) - set(known))
        if unknown:
            raise InvalidArgumentError("encoders", encoder.name, f"fields among {', '.join(known)}")
        return replace(self.tune, preset=encoder.model, **encoder.overrides)

    def _parsed(self, name: str) -> Sequence[PolicySpec | EncoderSpec | InterventionSpec]:
        parsed: dict[str, Sequence[PolicySpec | EncoderSpec | InterventionSpec]] = {
            "policies": self.policy_specs,
            "encoders": self.encoder_specs,
            "interventions": self.intervention_specs,
        }
        return parsed[name]

    @property
    def policy_specs(self) -> tuple[PolicySpec, ...]:
        return tuple(map(parse_policy, self.policies))

    @property
    def encoder_specs(self) -> tuple[EncoderSpec, ...]:
        return tuple(map(parse_encoder, self.encoders))

    @property
    def intervention_specs(self) -> tuple[InterventionSpec, ...]:
        return tuple(map(parse_intervention, self.interventions))

    @property
    def token_budgets(self) -> tuple[int, ...]:
        return parse_budgets(self.budgets)

    @property
    def compared_with(self) -> str:
        """Name of the reference policy."""
        names = [spec.name for spec in self.policy_specs]
        if self.reference is not None:
            return parse_policy(self.reference).name
        return "uniform" if "uniform" in names else names[0]


@dataclass(frozen=True, kw_only=True)
class TokenPlan:
    """One way to read all clips: a policy at a budget.

    Attributes:
        config: None where the policy does not accept the budget; ``refused`` then says why.
    """

    policy: PolicySpec
    budget: int
    config: TokenizeConfig | None
    refused: str = ""

    @property
    def name(self) -> str:
        return f"{self.policy.name} {self.budget}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trained model, tested under one or more interventions.

    Attributes:
        trained: what is done to training tokens. tested: to test tokens, each one a cell. fold: None in mode probe,
            where a job holds all folds and seeds.
    """

    plan: TokenPlan
    encoder: EncoderSpec
    seed: int
    fold: int
    trained: InterventionSpec
    tested: tuple[InterventionSpec, ...]


def token_plans(config: SweepConfig) -> list[TokenPlan]:
    """All policies at all budgets, budget by budget."""
    plans = []
    for budget, policy in product(config.token_budgets, config.policy_specs):
        try:
            plans.append(TokenPlan(policy=policy, budget=budget, config=policy.config(budget, config.reading)))
        except OneVisionError as error:
            cause = f"{type(error).__name__}: {error}"
            plans.append(TokenPlan(policy=policy, budget=budget, config=None, refused=cause))
    return plans


def jobs_of(config: SweepConfig, plans: Sequence[TokenPlan]) -> list[Job]:
    """All jobs of mode scratch, those of one token plan together."""
    plain = InterventionSpec()
    undisturbed = tuple(spec for spec in config.intervention_specs if not spec.trained)
    groups: list[tuple[InterventionSpec, tuple[InterventionSpec, ...]]] = [(plain, undisturbed)] if undisturbed else []
    groups += [(spec, (spec,)) for spec in config.intervention_specs if spec.trained]
    folds = range(max(1, config.folds))
    return [
        Job(plan=plan, encoder=encoder, seed=seed, fold=fold, trained=trained, tested=tested)
        for plan, (trained, tested), encoder, seed, fold in product(
            plans, groups, config.encoder_specs, range(config.seeds), folds
        )
    ]


def cell_of(job: Job, intervention: InterventionSpec) -> dict[str, Any]:
    """What names a cell."""
    return {
        "policy": job.plan.policy.name,
        "budget": job.plan.budget,
        "variant": job.encoder.name,
        "seed": job.seed,
        "fold": job.fold,
        "intervention": intervention.name,
    }
