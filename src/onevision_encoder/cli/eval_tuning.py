"""What `ove eval probe` may train besides a head: all of an encoder, or a fresh one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.probe_config import ProbeConfig
from onevision_encoder.evaluate.tuning_config import FRESH, SMALLEST, Augmentation, Pool, Rope, TuneConfig

if TYPE_CHECKING:
    from onevision_encoder.evaluate.tuning_run import Learner

What = Literal["head", "full", "scratch"]
_USUAL = TuneConfig()
_SIZES = FRESH[1:]


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """Options of training more than a head; --epochs, --batch-size, --lrs, --weight-decays and --seeds hold too."""

    tune: What = "head"
    """head: the encoder stays as it is. full: it goes on learning. scratch: a fresh one of the preset --model,
    which may also be mite (64 wide, 3 layers, 2 heads: learns on a CPU)."""
    steps: int | None = None
    """Steps of training, instead of --epochs. Where neither is given: 1200 steps from scratch, 30 epochs of full."""
    pool: Pool = _USUAL.pool
    """What the classifier reads. head: the encoder's attention pooling. mean: of all tokens. attentive: the head of the
    paper's probe, new, on all tokens."""
    warmup_share: float = _USUAL.warmup_share
    """Share of the steps in which the rate rises."""
    label_smoothing: float = _USUAL.label_smoothing
    """Of the cross entropy."""
    augment: tuple[Augmentation, ...] = _USUAL.augment
    """What happens to a training clip: shift (of its places, by up to 4 patches), colour, noise, drop (one token in
    ten)."""
    width: int | None = None
    """Of a fresh encoder, instead of the preset's."""
    layers: int | None = None
    """Of a fresh encoder, instead of the preset's."""
    heads: int | None = None
    """Of a fresh encoder, instead of the preset's."""
    rope_mode: Rope = _USUAL.rope_mode
    """Of a fresh encoder."""
    rope_theta: float = _USUAL.rope_theta
    """Of a fresh encoder."""
    init_std: float = _USUAL.init_std
    """Of a fresh encoder: standard deviation of its first weights."""
    place_waves: int = _USUAL.place_waves
    """Of a fresh encoder: waves of each token's t, h and w that are added to its embedded patch. 0: RoPE alone."""
    place_std: float = _USUAL.place_std
    """Of a fresh encoder: standard deviation of the first weights of the map of those waves."""

    def check(self, probe: ProbeConfig) -> None:
        """Raise InvalidArgumentError for an option that what is tuned does not read."""
        usual, usual_probe = TuningOptions(), ProbeConfig()
        if self.tune == "head":
            unread = [f.name for f in fields(self) if f.name != "tune" and _differs(self, usual, f.name)]
            if unread:
                allowed = "only --tune full and --tune scratch read it"
                raise InvalidArgumentError(unread[0], getattr(self, unread[0]), allowed)
            return
        if _differs(probe, usual_probe, "head"):
            raise InvalidArgumentError("head", probe.head, f"only --tune head reads it; --pool is that of {self.tune}")
        if self.tune == "full":
            for name in _SIZES:
                if _differs(self, usual, name):
                    raise InvalidArgumentError(name, getattr(self, name), "only --tune scratch reads it")

    def config(self, probe: ProbeConfig, *, preset: str, dtype: str) -> TuneConfig:
        """Everything together. Raises InvalidArgumentError as TuneConfig does."""
        if dtype == "float16":
            raise InvalidArgumentError("dtype", dtype, "float32 (auto) or bfloat16, where all weights are trained")
        fresh: dict[str, Any] = {"preset": preset, **{name: getattr(self, name) for name in _SIZES}}
        return TuneConfig(
            init="weights" if self.tune == "full" else "scratch",
            steps=self.steps,
            epochs=probe.epochs,
            batch_size=probe.batch_size or _USUAL.batch_size,
            pool=self.pool,
            warmup_share=self.warmup_share,
            label_smoothing=self.label_smoothing,
            augment=self.augment,
            precision="bfloat16" if dtype == "bfloat16" else "float32",
            **({} if self.tune == "full" else fresh),
        )

    def learner(self, probe: ProbeConfig, *, model: str, dtype: str, patch: int) -> Learner:
        """What is tuned. Raises CheckpointError, InvalidArgumentError: no such model, or not for this."""
        import copy
        from functools import partial

        from onevision_encoder.evaluate.backbones import is_ours
        from onevision_encoder.evaluate.tuning_model import scratch_encoder
        from onevision_encoder.evaluate.tuning_run import Learner
        from onevision_encoder.model import PRESETS, load_encoder

        grid = {"lrs": probe.lrs, "weight_decays": probe.weight_decays}
        if self.tune == "scratch":
            sizes = (*SMALLEST, *PRESETS)
            if model not in sizes:
                raise InvalidArgumentError("model", model, f"a preset {sizes}, to start a fresh encoder")
            config = self.config(probe, preset=model, dtype=dtype)
            about = {"family": "onevision_encoder", "weights": "drawn from the seed", "patch_size": patch}
            return Learner(partial(scratch_encoder, config, patch), config, model, about, **grid)
        if model in PRESETS or not is_ours(model):
            allowed = "weights of our own encoder; a preset has none (--tune scratch), others are probed (--tune head)"
            raise InvalidArgumentError("model", model, allowed)
        config = self.config(probe, preset=_USUAL.preset, dtype=dtype)
        loaded = load_encoder(model, dtype="float32", device="cpu")
        about = {"family": "onevision_encoder", **dict(loaded.provenance)}
        return Learner(partial(copy.deepcopy, loaded.model), config, model, about, **grid)


def _differs(config: object, usual: object, name: str) -> bool:
    return bool(getattr(config, name) != getattr(usual, name))
