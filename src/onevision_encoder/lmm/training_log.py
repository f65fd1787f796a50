"""What a training run tells: a file with a JSON object a line, none twice after a resume, and a tick a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from onevision_encoder.tokens.files import write_atomically

Tick = Callable[[str, int, int], None]
"""Called with what is counted, how far it is, and how far it will go."""


class LogFile(TrainerCallback):
    """``step``, ``epoch`` and what the Trainer says of them: ``loss``, ``learning_rate``, ``grad_norm``; ``eval_loss``.

    Figures of the machine, and the Trainer's summary, which begins anew with each resume, are left out: the log of a
    run that was interrupted is that of one that was not.
    """

    def __init__(self, path: Path, tick: Tick | None) -> None:
        self.path, self.tick = path, tick

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Lines of steps that will be taken again go."""
        if not state.is_world_process_zero:
            return
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
        write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True  # the last loss, whatever log_every is
        if self.tick is not None and state.is_world_process_zero:
            self.tick("steps", state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs or "train_loss" in logs:
            return
        kept = {k: v for k, v in logs.items() if not k.endswith(("_runtime", "_per_second"))}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.global_step, **kept}) + "\n")
