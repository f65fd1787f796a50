"""A small run in a process of its own. Ends as the command would: 0, 2 with the error on standard error, 130."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from small_runs import make_stream, small_config

from onevision_encoder.errors import OneVisionError
from onevision_encoder.pretrain.failures import InterruptedRunError
from onevision_encoder.pretrain.settings import with_setting
from onevision_encoder.pretrain.start import pretrain


def main(out: Path, settings: Sequence[str]) -> int:
    """Exit code of a run of ``small_config`` with settings that differ."""
    torch.set_num_threads(1)
    config = small_config()
    for setting in settings:
        config = with_setting(config, setting)
    try:
        pretrain(config, out, stream=make_stream, device="cpu", quiet=True)
    except InterruptedRunError as stopped:
        print(stopped, file=sys.stderr)
        return 130
    except OneVisionError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except BaseException:
        traceback.print_exc()
        return 3
    return 0


def leave(code: int) -> None:
    sys.stderr.flush()
    os._exit(code)  # taking DDP and gloo apart can lock up: their thread wants the GIL that waits for it (torch 2.13)
