"""`ove pretrain --recipe NAME --out RUN`: train an encoder; `ove pretrain --out RUN` goes on with it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onevision_encoder.cli.batch import FAILED, INTERRUPTED
from onevision_encoder.errors import InvalidArgumentError, WriteError

if TYPE_CHECKING:
    from onevision_encoder.pretrain import PretrainConfig, RunResult

TINY = "tiny-cpu"


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train an encoder against banks of concepts, from corpora of shards, without labels.

    Start it with torchrun to divide the work. The same command goes on where an earlier one stopped; so does one with
    nothing but --out. With --recipe tiny-cpu everything is made from a folder of media, corpora and banks included, by
    one process; there the whole command goes on.
    """

    recipe: str | None = None
    """large-stage1-image, large-stage2-video, tiny-stage1-image, tiny-stage2-video, or tiny-cpu: all of it at once."""
    config: Path | None = None
    """A file of JSON instead of a recipe, config.json of another run say."""
    out: Path | None = None
    """Folder of the run: configuration, checkpoints, metrics, and in the end the encoder."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE"), tyro.conf.UseAppendAction] = ()
    """A setting that differs, optimizer.lr=1e-4 say; may be given several times."""
    media: Path | None = None
    """Of tiny-cpu: a folder of pictures and videos. None: procedural ones are made."""
    dry_run: bool = False
    """Only print parameters, memory of each process and operations; touches no data."""
    world: int = 1
    """Of a dry run: processes."""
    export: Path | None = None
    """Train nothing: write the encoder of the newest checkpoint in --out to this folder."""
    step: int | None = None
    """Of --export: the checkpoint of this step."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, ..."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        if self.dry_run:
            return self._dry_run()
        if self.out is None:
            raise InvalidArgumentError("out", None, "the folder of the run")
        if self.export is not None:
            return self._export(self.out, self.export)
        code = self._train(self.out)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # taking DDP and gloo apart can lock up: their thread wants the GIL that waits for it
        return code

    def _train(self, out: Path) -> int:
        from onevision_encoder.pretrain import DivergedError, InterruptedRunError, RankLostError

        try:
            result = self._run_it(out)
        except InterruptedRunError as stopped:
            print(
                "ove: stopped; the same command goes on" if self.recipe == TINY else f"ove: {stopped}", file=sys.stderr
            )
            return INTERRUPTED
        except KeyboardInterrupt:
            again = f"go on from the last checkpoint with: ove pretrain --out {out}"
            print(f"ove: torn off; {'the same command goes on' if self.recipe == TINY else again}", file=sys.stderr)
            return INTERRUPTED
        except (DivergedError, RankLostError, WriteError) as error:
            print(f"ove: {error}", file=sys.stderr)
            return FAILED
        if result is not None and os.environ.get("RANK", "0") == "0":
            self._tell(result)
        return 0

    def _run_it(self, out: Path) -> RunResult | None:
        from onevision_encoder.pretrain import pretrain

        if self.recipe == TINY:
            from onevision_encoder.pretrain.pipeline import TinyPlan, run_tiny

            if self.config is not None:
                raise InvalidArgumentError("config", str(self.config), "either a config or a recipe")
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise InvalidArgumentError("recipe", TINY, "one process; under torchrun train from corpora instead")
            plan = TinyPlan(workers=min(8, os.cpu_count() or 1))
            return run_tiny(out, media=self.media, settings=self.set, device=self.device, quiet=self.json, plan=plan)
        if self.media is not None:
            raise InvalidArgumentError("media", str(self.media), "only recipe=tiny-cpu reads it; others read corpora")
        return pretrain(self._config(), out, device=self.device, quiet=self.json)

    def _config(self) -> PretrainConfig:
        from onevision_encoder.pretrain import recipe
        from onevision_encoder.pretrain.run_folder import config_of
        from onevision_encoder.pretrain.settings import read_config, with_setting

        if self.recipe is not None and self.config is not None:
            raise InvalidArgumentError("config", str(self.config), "either a config or a recipe")
        if self.recipe == TINY:
            raise InvalidArgumentError("recipe", TINY, "tiny-stage1-image or tiny-stage2-video, of which it consists")
        if self.recipe is not None:
            config = recipe(self.recipe)
        elif self.config is not None:
            config = read_config(self.config)
        elif self.out is not None:
            config = config_of(self.out)
        else:
            raise InvalidArgumentError("recipe", None, "a recipe, a config, or --out with the folder of a run")
        for setting in self.set:
            config = with_setting(config, setting)
        return config

    def _dry_run(self) -> int:
        from onevision_encoder.pretrain import describe_run, dry_run

        found = dry_run(self._config(), self.world)
        print(json.dumps(found.as_dict(), indent=2) if self.json else describe_run(found))
        return 0

    def _export(self, run: Path, target: Path) -> int:
        from onevision_encoder.pretrain import export_encoder

        made = export_encoder(run, target, step=self.step)
        print(json.dumps({"encoder": str(made)}) if self.json else f"encoder -> {made}")
        return 0

    def _tell(self, result: RunResult) -> None:
        if self.json:
            facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}
            print(json.dumps(facts, indent=2))
            return
        print(f"{result.step} steps, from step {result.first} on in this call -> {result.out}")
        print(f"encoder -> {result.encoder}")
