"""The options that decide which tokens a source gives, shared by every verb that reads one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from onevision_encoder.selection import SelectionConfig
from onevision_encoder.tokens.pipeline import SignalConfig, TimeConfig, TokenizeConfig
from onevision_encoder.video import Sampling, Sizing


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Parts of a TokenizeConfig, as groups of the help text."""

    selection: SelectionConfig = field(default_factory=SelectionConfig)
    sampling: Sampling = field(default_factory=Sampling)
    sizing: Sizing = field(default_factory=Sizing)
    signals: SignalConfig = field(default_factory=SignalConfig)
    times: TimeConfig = field(default_factory=TimeConfig)

    def __post_init__(self) -> None:
        self.how.check_read()

    @property
    def how(self) -> TokenizeConfig:
        return TokenizeConfig(**{f.name: getattr(self, f.name) for f in fields(TokenizeConfig)})

    @property
    def request(self) -> Any:
        """The configuration as it reads back from a file."""
        return json.loads(json.dumps(self.how.as_dict()))

    @property
    def changed(self) -> list[str]:
        """Names of the options that are not at their default."""
        given, usual = self.how.as_dict(), TokenizeConfig().as_dict()
        return [name for part in given for name in given[part] if given[part][name] != usual[part][name]]

    def option(self, name: str) -> Any:
        """The value of one option, by its name."""
        return next(part[name] for part in self.how.as_dict().values() if name in part)
