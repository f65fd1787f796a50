"""`ove`: one thin subcommand per verb, each a dataclass of its options with a ``run`` that returns an exit code.

Exit codes: 0 all done, 1 some inputs failed or part of what was asked for is left out (it is listed), 2 the call itself
is wrong, 130 interrupted.
Results go to standard output (JSON with ``--json``), progress and complaints to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from onevision_encoder import __version__

_REPEATED = ("--set",)
"""Options that may stand more than once."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the ``ove`` command; returns the exit code, or raises SystemExit as argparse would."""
    from onevision_encoder.errors import OneVisionError

    words = sys.argv[1:] if argv is None else list(argv)
    try:
        return int(verb_of(words).run())
    except OneVisionError as error:
        print(f"ove: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def verb_of(words: list[str]) -> Any:
    """What the words behind ``ove`` ask for: its options, checked, and a ``run`` that does it.

    Raises:
        SystemExit: help was asked for, or the words are not understood.
    """
    if words[:1] == ["eval"]:
        from onevision_encoder.cli.evaluation import Eval, eval_verbs

        return _parse(words[1:], eval_verbs(), prog="ove eval", about=Eval.__doc__ or "")
    if words[:1] == ["concepts"]:
        from onevision_encoder.cli.concepts import Concepts, concept_verbs

        return _parse(words[1:], concept_verbs(), prog="ove concepts", about=Concepts.__doc__ or "")
    if words[:1] == ["corpus"]:
        from onevision_encoder.cli.corpus import CorpusVerbs, corpus_verbs

        return _parse(words[1:], corpus_verbs(), prog="ove corpus", about=CorpusVerbs.__doc__ or "")
    if words[:1] == ["lmm"]:
        from onevision_encoder.cli.language import Lmm, lmm_verbs

        return _parse(words[1:], lmm_verbs(), prog="ove lmm", about=Lmm.__doc__ or "")
    about = "Read video the way a codec writes it: exact numbers of patch tokens, and embeddings."
    return _parse(words, _verbs(words), prog="ove", about=about)


def _verbs(words: list[str]) -> dict[str, Callable[..., Any]]:
    from onevision_encoder.cli.doctor import Doctor

    if words[:1] == ["doctor"]:  # must start where what the others import is broken
        return {"doctor": Doctor}
    from onevision_encoder.cli.concepts import Concepts
    from onevision_encoder.cli.convert import Convert
    from onevision_encoder.cli.corpus import CorpusVerbs
    from onevision_encoder.cli.encode import Encode
    from onevision_encoder.cli.evaluation import Eval
    from onevision_encoder.cli.export import Export
    from onevision_encoder.cli.inspect import Inspect
    from onevision_encoder.cli.language import Lmm
    from onevision_encoder.cli.pretrain import Pretrain
    from onevision_encoder.cli.preview import Preview
    from onevision_encoder.cli.tokens import Tokens
    from onevision_encoder.cli.view import View

    return {
        "inspect": Inspect,
        "tokens": Tokens,
        "encode": Encode,
        "preview": Preview,
        "view": View,
        "convert": Convert,
        "export": Export,
        "corpus": CorpusVerbs,
        "eval": Eval,
        "concepts": Concepts,
        "pretrain": Pretrain,
        "lmm": Lmm,
        "doctor": Doctor,
    }


def _parse(words: list[str], verbs: dict[str, Callable[..., Any]], *, prog: str, about: str) -> Any:
    """The verb that the words name, with its options; help and complaints raise SystemExit."""
    import tyro

    if words == ["--version"]:
        print(f"ove {__version__}")
        raise SystemExit(0)
    flags = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    _check_given_once(words)
    if words and words[0] in verbs:  # parsed alone, a verb's complaints name the option and nothing else
        return tyro.cli(verbs[words[0]], prog=f"{prog} {words[0]}", args=words[1:], config=flags)
    return tyro.extras.subcommand_cli_from_dict(verbs, prog=prog, description=about, args=words, config=flags)


def _check_given_once(words: list[str]) -> None:
    """Raise InvalidArgumentError for an option that stands twice, of which the first would be dropped."""
    from onevision_encoder.errors import InvalidArgumentError

    names = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    for name in names:
        if name not in _REPEATED and names.count(name) > 1:
            raise InvalidArgumentError("option", name, "once; where it takes several values, they stand behind it")
