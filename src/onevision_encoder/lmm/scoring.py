"""How right an answer in words is: letters, exact answers, ANLS, relaxed accuracy, and what OCRBench asks for.

Every metric gives 0..1 for a prediction and all its accepted answers. Sources of the formulas stand with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from onevision_encoder.errors import InvalidArgumentError

Metric = Callable[[str, Sequence[str]], float]

_COORDINATES = re.compile(r"[(\[]\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*[)\]]")


def letter_of(prediction: str, letters: Sequence[str], options: Sequence[str] = ()) -> str | None:
    """The letter that a free answer names, or None. The first rule that finds anything decides:

    1. the whole answer is a letter, perhaps in brackets or with ``.``, ``:``, ``)`` behind it, in any case;
    2. it starts with a capital letter and one of these marks: ``B. the left one``;
    3. ``answer`` or ``option`` and then, perhaps behind ``is``, a capital letter: ``The answer is (B)``;
    4. the text of just one option, or of one that contains all others that occur;
    5. capital letters in brackets, or by themselves (``A`` only before a stop or the end, because it is an article):
       one only, however often.
    """
    text = prediction.strip()
    any_of = "".join(letters)
    for pattern, flags in (
        (rf"[(\[*\s]*([{any_of}])[)\].:*\s]*$", re.IGNORECASE),
        (rf"[(\[*\s]*([{any_of}])[)\].:*](?=\s|$|\W)", re.NOFLAG),
    ):
        found = re.match(pattern, text, flags)
        if found:
            return found[1].upper()
    named = re.findall(rf"(?i:answer|option)(?i:\s+is)?\s*:?\s*[(\[*]*([{any_of}])\b", text)
    if named:
        return str(named[-1])
    return _by_words(text, letters, options) or _by_itself(text, any_of)


def _by_words(text: str, letters: Sequence[str], options: Sequence[str]) -> str | None:
    low = text.lower()
    within = {
        letter: option.lower().strip().rstrip(".")
        for letter, option in zip(letters, options, strict=False)
        if re.search(rf"(?<!\w){re.escape(option.lower().strip().rstrip('.'))}(?!\w)", low) and option.strip()
    }
    if not within:
        return None
    longest = max(within, key=lambda letter: len(within[letter]))
    return longest if all(words in within[longest] for words in within.values()) else None


def _by_itself(text: str, any_of: str) -> str | None:
    bracketed = set(re.findall(rf"[(\[]([{any_of}])[)\]]", text))
    if bracketed:
        return bracketed.pop() if len(bracketed) == 1 else None
    alone = set(re.findall(rf"(?<![\w'])([{any_of}])(?![\w'])", text))
    if "A" in alone and not re.search(r"(?<![\w'])A(?=[.,;:]|$)", text):
        alone.remove("A")
    return alone.pop() if len(alone) == 1 else None


def exact(prediction: str, answers: Sequence[str]) -> float:
    """1 where the prediction is an answer, without regard to case, outer spaces and a final full stop."""
    return float(_plain(prediction) in {_plain(one) for one in answers})


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's: insertions, deletions and replacements of characters, at least."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


def anls(prediction: str, answers: Sequence[str], threshold: float = 0.5) -> float:
    """Average normalised Levenshtein similarity of one question (Biten et al., ICCV 2019, eq. 1).

    The best over the answers of 1 - NL, where NL is the edit distance over the longer length; 0 where that is under
    ``threshold``. Case and runs of spaces do not count. At the threshold itself it is as in the challenge's program,
    which published figures are from; the paper's equation has 0 there.
    """
    said = " ".join(prediction.lower().split())
    best = 0.0
    for one in answers:
        truth = " ".join(one.lower().split())
        longer = max(len(said), len(truth))
        distance = edit_distance(said, truth) / longer if longer else 0.0
        best = max(best, 1 - distance)
    return best if best >= threshold else 0.0


def relaxed_accuracy(prediction: str, answers: Sequence[str], tolerance: float = 0.05) -> float:
    """ChartQA's (Masry et al., 2022, section 5.1): numbers within 5 % of the answer, anything else exact but for case.

    ``12%`` is 0.12. An answer of zero is matched by zero alone.
    """
    return float(any(_relaxed(prediction.strip(), one.strip(), tolerance) for one in answers))


def _relaxed(said: str, truth: str, tolerance: float) -> bool:
    number, target = _number(said), _number(truth)
    if number is None or target is None:
        return said.lower() == truth.lower()
    return abs(number - target) <= tolerance * abs(target)


def _number(text: str) -> float | None:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if value - value == 0 else None  # "nan" and "inf" are words


def contained(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench's (Liu et al., 2023): an answer occurs in the prediction, without regard to case and line breaks."""
    said = _flat(prediction)
    return float(any(_flat(one) in said for one in answers))


def contained_formula(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench's for formulas (HME100k): as :func:`contained`, but case counts and spaces do not."""
    said = "".join(prediction.split())
    return float(any("".join(one.split()) in said for one in answers))


def _flat(text: str) -> str:
    folded = "".join(_narrow(character) for character in text)
    return folded.lower().strip().replace("\n", " ")


def _narrow(character: str) -> str:
    """Full-width ASCII and the ideographic space, as the keyboard has them."""
    code = ord(character)
    return chr(code - 0xFEE0) if 0xFF01 <= code <= 0xFF5E else " " if code == 0x3000 else character


def contained_or_near(prediction: str, answers: Sequence[str], *, case: bool = False, chinese: bool = False) -> float:
    """OCRBench v2's for questions: short answers (under 5 words; Chinese: under 4 parts between commas) must occur in
    the prediction, longer ones score 1 - NL where that is at least 0.5."""

    def shape(text: str) -> str:
        text = text.strip().replace("\n", " ")
        text = text if case else text.lower()
        return text.replace(" ", "") if chinese else text

    said, best = shape(prediction), 0.0
    for truth in map(shape, answers):
        if len(truth.split(",")) < 4 if chinese else len(truth.split()) < 5:
            best = max(best, float(truth in said))
        else:
            near = 1 - edit_distance(said, truth) / max(len(said), len(truth), 1)
            best = max(best, near if near >= 0.5 else 0.0)
    return best


def counted_near(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench v2's for counts: 1 - |n - truth| / truth with the first number n of the prediction; 0 up to 0.5."""
    found = re.search(r"\d+", prediction)
    if not found:
        return 0.0
    scores = [1 - abs(int(found[0]) - int(one)) / int(one) for one in answers if int(one)]
    return max((score for score in scores if score > 0.5), default=0.0)


def box_overlap(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench v2's for grounding: intersection over union of ``[x1, y1, x2, y2]``; the prediction's last box counts.

    ``answers``: the four numbers, as texts.
    """
    found = [match for match in _COORDINATES.findall(prediction) if all(int(n) <= 1000 for n in match)]
    if not found:
        return 0.0
    a, b = [int(n) for n in found[-1]], [int(float(n)) for n in answers]
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def bare_letters(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench v2's for multiple choice: the letters of the prediction, all of them, are the answer."""
    return float("".join(c for c in prediction if c.isalpha()) == answers[0])


def _with_case(prediction: str, answers: Sequence[str]) -> float:
    return contained_or_near(prediction, answers, case=True)


def _chinese(prediction: str, answers: Sequence[str]) -> float:
    return contained_or_near(prediction, answers, chinese=True)


def _formula_cn(prediction: str, answers: Sequence[str]) -> float:
    """Without the tags of ``\\text{...}``."""
    bare = [re.sub(r"\\text\{([^{}]*)\}", r"\1", text) for text in (prediction, *answers)]
    return contained_formula(bare[0], bare[1:])


METRICS: Mapping[str, Metric] = {
    "exact": exact,
    "anls": anls,
    "relaxed": relaxed_accuracy,
    "contained": contained,
    "contained_formula": contained_formula,
    "contained_or_near": contained_or_near,
    "contained_or_near_case": _with_case,
    "contained_or_near_cn": _chinese,
    "formula_cn": _formula_cn,
    "counted_near": counted_near,
    "box_overlap": box_overlap,
    "bare_letters": bare_letters,
}


def metric_named(name: str) -> Metric:
    """Raises InvalidArgumentError for a name that is none."""
    if name not in METRICS:
        raise InvalidArgumentError("metric", name, f"letter, or one of {', '.join(METRICS)}")
    return METRICS[name]
