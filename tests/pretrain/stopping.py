"""A run that is gone after so many steps."""

from __future__ import annotations

import pytest

from onevision_encoder.pretrain.loop import Trainer


class StoppedError(Exception):
    pass


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """The process is gone after so many steps, whatever was saved by then."""
    do = Trainer._one_step

    def one_step(self: Trainer) -> None:
        if self.step == steps:
            raise StoppedError
        do(self)

    monkeypatch.setattr(Trainer, "_one_step", one_step)
