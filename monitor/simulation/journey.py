"""What happens to a patient in the simulated hospital, and how the feeds tell it.

Care comes first, and is certain: a `Fact` is what really happened (or a mistake that the staff charted, and which is
cancelled later). Telling comes after it, and is not: each `Telling` is one message about a fact, late, repeated,
corrected or cancelled as real feeds have it. What is true follows from the facts and their tellings alone, without
the monitor's own reading of them.
"""

from typing import Literal

from msgspec import Struct, field

Seconds = int
"""An instant: seconds since 1970-01-01T00:00:00Z."""

Attribute = str | int | float | bool

Kind = Literal["first", "correction", "cancel", "copy"]
"""`copy` is an identical resend of the last telling before it with the same id."""


class Telling(Struct, eq=False, gc=False):
    """One message about a fact.

    `at` is the time of the fact as this message gives it. `from_` and `to` are raw locations as it gives them.
    The log is in order of `delivered_at`, which is never before `recorded_at`.
    A correction or a cancel that is not `named` leaves it to the reader which fact is meant.
    """

    kind: Kind
    id: str  # on the wire; a copy repeats it
    at: Seconds
    recorded_at: Seconds
    delivered_at: Seconds
    from_: str | None = None
    to: str | None = None
    named: bool = True
    unit: Seconds = 1  # how exactly `at` is given: 60 where the message has only minutes


class Fact(Struct, eq=False, gc=False):
    """One thing that happened in care, or was charted by mistake and is cancelled later.

    `id` is that of its first telling. `patient` and `visit` are the keys under which it is sent; `visit` is None where
    the message names none. `from_` and `to` are raw locations, None where they are not sent.
    `told` is in order of recording; when it is empty, the fact happened and nobody ever charted it.
    A fact that is not `real` never happened: a mistake that is cancelled, perhaps after the end of the log.
    """

    id: str
    source: str
    type: str
    at: Seconds
    patient: str
    visit: str | None
    from_: str | None
    to: str | None
    attributes: dict[str, Attribute]
    told: list[Telling]
    real: bool = True


class Journey(Struct, eq=False, gc=False):
    """All that happens to one person.

    `patient` is the surviving key, `aliases` are the keys merged into it. `facts` are in order of `at`, merges
    included. `visits` maps a visit number as it was first sent to the one that stands, for those that were renamed.
    """

    patient: str
    facts: list[Fact]
    test: bool = False
    aliases: list[str] = field(default_factory=list)
    visits: dict[str, str] = field(default_factory=dict)
