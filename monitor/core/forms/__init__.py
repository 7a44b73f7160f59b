"""The eight forms of rule (contract, section 4), each ready to be run."""

from __future__ import annotations

from typing import Any, Final

from monitor.core.forms.dwell import Dwell, Exclusive
from monitor.core.forms.order import Count, Forbid, Never, Require
from monitor.core.forms.response import Expect, Steps
from monitor.core.place import Registry
from monitor.core.rule import (
    CaseRule,
    CountRule,
    ExclusiveRule,
    ExpectRule,
    ForbidRule,
    NeverRule,
    RequireRule,
    StayRule,
    StepsRule,
)
from monitor.core.verdict import Form

_FORMS: Final[dict[type[CaseRule], Any]] = {
    ExpectRule: Expect,
    RequireRule: Require,
    ForbidRule: Forbid,
    NeverRule: Never,
    StayRule: Dwell,
    CountRule: Count,
    StepsRule: Steps,
    ExclusiveRule: Exclusive,
}


def form_for(rule: CaseRule, registry: Registry) -> Form:
    """The form of a rule, ready for the microsystems of a registry."""
    form: Form = _FORMS[type(rule)](rule, registry)
    return form
