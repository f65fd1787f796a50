"""What can stop a training run. Each error says what to do next; the last good checkpoint is never touched."""

from __future__ import annotations

from collections.abc import Sequence

from onevision_encoder.errors import CheckpointError, OneVisionError

MOST_IDS = 16


class DivergedError(OneVisionError):
    """The loss or the gradient stopped being finite. The weights are still those before the step.

    Args:
        step: the step that was not taken, counted from 0.
        what: "loss", "gradient norm".
        value: what was found.
        ids: of the samples of the step, all ranks; those whose own embedding is not finite where there are any.
        hint: how to go on, in words.
    """

    def __init__(self, step: int, what: str, value: float, ids: Sequence[str], hint: str) -> None:
        self.step, self.what, self.value, self.ids = step, what, value, tuple(ids)
        shown = ", ".join(self.ids[:MOST_IDS])
        more = f" and {len(self.ids) - MOST_IDS} more" if len(self.ids) > MOST_IDS else ""
        super().__init__(f"step {step}: {what} is {value}; samples {shown}{more}. {hint}")


class RankLostError(OneVisionError):
    """Another process of the run is gone or does not answer.

    Args:
        step: the step that was not finished. cause: what the collective said. hint: how to go on, in words.
    """

    def __init__(self, step: int, cause: str, hint: str) -> None:
        self.step, self.cause = step, cause
        super().__init__(f"step {step}: a process of this run is lost ({cause}). {hint}")


class ResumeError(CheckpointError):
    """A checkpoint is there and cannot be continued from. Nothing was changed, and nothing starts again at step 0.

    Args:
        source: the folder. cause: what is wrong and what would be accepted. field: of the configuration, if it is that.
    """

    def __init__(self, source: object, cause: str, field: str | None = None) -> None:
        self.field = field
        super().__init__(source, cause)


class InterruptedRunError(OneVisionError):
    """Somebody asked the run to stop (ctrl-C, SIGTERM); the state was saved.

    Args:
        step: the next step to do. hint: the command or call that goes on.
    """

    def __init__(self, step: int, hint: str) -> None:
        self.step, self.hint = step, hint
        super().__init__(f"stopped before step {step}, everything is saved. {hint}")
