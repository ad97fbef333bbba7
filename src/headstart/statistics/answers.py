"""What the studies answer: at most one line for each question of a reader, its numbers named by the claims they belong to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from headstart.statistics.claim_results import CONTROL_FAILED
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.words import pluralize

QUESTIONS = {
    "help": "Does pre-training help?",
    "start": "Is an earlier start better?",
    "choose": "Which rule finds the checkpoint to fine-tune?",
    "kept": "What is kept?",
    "forgotten": "What is forgotten, by depth?",
    "why": "Why?",
    "limits": "What cannot be told?",
    "decide": "What would decide the rest, by the square-root law?",
}
"""The lines of an answer, in order."""
YES_OR_NO = {"supported": "yes", "contradicted": "no", "undetermined": "not decided"}
POWER = 0.8
MOST = 1000
"""Numbers of networks are not looked for beyond it."""
Claims = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Statement:
    """One part of the answer to a question.

    Attributes:
        topic: of `QUESTIONS`.
        text: with `{}` in place of every number.
        numbers: each as it is written, and the claim whose row has it.
        figure: the first words of the name of the figure that shows it.
    """

    topic: str
    text: str
    numbers: Sequence[Sequence[str]] = ()
    figure: str = ""

    @property
    def plain(self) -> str:
        """The statement as text."""
        return self.with_numbers([number for number, _ in self.numbers])

    def with_numbers(self, written: Iterable[str]) -> str:
        """Return the text with its numbers written like this."""
        first, *rest = self.text.split("{}")
        return first + "".join(number + part for number, part in zip(written, rest, strict=True))


def records(statements: Iterable[Statement]) -> list[dict[str, Any]]:
    """Return statements as JSON has them."""
    return [asdict(statement) for statement in statements]


def by_question(contents: Iterable[Mapping[str, Any]]) -> dict[str, list[Statement]]:
    """Return the statements of all studies by topic, in the order of `QUESTIONS`, without empty ones.

    `contents` have `answer`, the records of a study's statements, and `claims`.
    """
    every = [*contents]
    found = [Statement(**one) for content in every for one in content.get("answer", [])]
    found += limits([claim for content in every for claim in content["claims"]])
    topics = {topic: [one for one in found if one.topic == topic] for topic in QUESTIONS}
    return {topic: mine for topic, mine in topics.items() if mine}


def lines(contents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the answer as lines of text, one for each question."""
    return [
        f"{QUESTIONS[topic]} {' '.join(one.plain for one in mine)}"
        for topic, mine in by_question(contents).items()
    ]


def by_evaluator(claims: Claims) -> Mapping[str, Mapping[str, Any]]:
    """Return claims by the name of what evaluated them; one that nobody asked for was not measured."""
    nothing = {"claim": "", "status": "not measured here", "value": None, "reason": ""}
    return defaultdict(lambda: nothing, {claim["evaluated_by"]: claim for claim in claims})


def limits(claims: Claims) -> Iterator[Statement]:
    """Yield which claims these networks cannot show either way, and which judges are wrong or blind on controls."""
    hidden = [one["claim"] for one in claims if one["status"] == "not identifiable here"]
    narrow = [one["claim"] for one in claims if "no room between" in one["reason"]]
    wrong = [one["claim"] for one in claims if CONTROL_FAILED in one["control"]]
    blind = [
        one["claim"] for one in claims if one["control"] and CONTROL_FAILED not in one["control"]
    ]
    for names, words in (
        (hidden, "not identifiable with these networks"),
        (narrow, "no room between chance and ceiling"),
        (wrong, "the judge says yes where nothing is, so do not believe it"),
        (blind, "too few networks, an effect that was planted is not found either"),
    ):
        if names:
            listed = ", ".join(["{}"] * len(names))
            yield Statement("limits", f"{listed}: {words}.", [(name, name) for name in names])


def units_needed(n: int, detectable: float, target: float) -> int | None:
    """Return how many independent units find `target` with a power of 80 %, where `n` find `detectable`.

    The spread of a mean falls with the square root of its units, with Student's quantiles in place of
    normal ones: one-sided 2.5 %. None where `n` is 1, or more than `MOST` are needed.
    """
    if n < 2 or target <= 0 or not math.isfinite(detectable):
        return None
    one = detectable / reach(n)
    return next((units for units in range(n, MOST) if one * reach(units) <= target), None)


def reach(n: int) -> float:
    """Return the mean that a one-sided t-test of n values of spread 1 finds with a power of 80 %."""
    return float((stats.t.ppf(1 - ALPHA, n - 1) + stats.t.ppf(POWER, n - 1)) / math.sqrt(n))


def undecided(claims: Claims, n: int, unit: str = "networks") -> Iterator[Statement]:
    """Yield how many networks would tell the first open claim whose interval holds 0 from 0.

    An effect as large as the one found, at the spread of its 95 % interval over `n` networks, or whatever
    `unit` is.
    """
    for claim in claims:
        value, low, high = claim["value"], claim["low"], claim["high"]
        if claim["status"] != "undetermined" or None in (value, low, high) or not low < 0 < high:
            continue
        detectable = (high - low) / 2 * (1 + _beyond_half(n)) if n > 1 else math.inf
        needed = units_needed(n, detectable, abs(value))
        yield needed_units(claim["claim"], needed, n, "an effect as large as found", unit)
        return


def _beyond_half(n: int) -> float:
    """Return how much more than half an interval's width is found with a power of 80 %, as a share."""
    return float(stats.t.ppf(POWER, n - 1) / stats.t.ppf(1 - ALPHA, n - 1))


def needed_units(
    claim: str, needed: int | None, n: int, effect: str, unit: str = "networks"
) -> Statement:
    """Return what would decide a claim: so many units in place of `n`."""
    if n == 1:
        text = "{}: one network has no spread; several source networks would decide."
        return Statement("decide", text, [(claim, claim)])
    number = f"more than {MOST:,}" if needed is None else f"{needed:,}"
    text = f"{{}}: {{}} {unit} for {effect} ({n} here)."
    return Statement("decide", text, [(claim, claim), (number, claim)])


def over_networks(n: int) -> str:
    """Return over what a number holds: `9 source networks`, or `this network alone`."""
    return "this network alone" if n == 1 else pluralize(n, "source network")
