"""Who is told of a change of an alert: from roles, by the contacts of the place and the receivers of the settings, to sinks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from monitor.core.place import Mesosystem, Microsystem, Registry
from monitor.core.rule import CaseRule, RuleBase
from monitor.core.text import found
from monitor.notify.notice import Identifiers, Notice
from monitor.settings import EmailSink, Settings

DEFAULT: Final = "default"
"""The receiver of everything that names nobody else."""

Route = tuple[str, str]
"""A sink, and a receiver: the name of one, or an e-mail address that the registry gives as a contact."""


def notify_roles(rule: RuleBase, level: int) -> list[str]:
    """Whom the ladder names up to a level: at a warning the early step's role, from level 0 on also those of the steps until there."""
    if not isinstance(rule, CaseRule):
        return []
    ladder = sorted(rule.escalate, key=lambda step: step.after)
    early = [step for step in ladder if step.after.total_seconds() < 0]
    reached = [*early, *ladder[len(early) : len(early) + max(level, 0)]]
    return [step.notify for step in reached if step.notify is not None]


class Router:
    """Roles to sinks and receivers, by settings and registry."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._book = _Book(settings, registry)

    def route(self, notice: Notice, roles: Sequence[str], already: Sequence[Route]) -> list[Route]:
        """To whom a change goes; `roles` are those of the ladder up to its level, `already` is who was told of the alert before.

        Who was told once is told of all that follows, whatever became of their role; of an end nobody else is told.
        """
        routes = [route for route in already if route[0] in self._settings.sinks]
        if notice.state == "firing":
            for role in _addressed(notice, roles):
                routes += self._book.find(role, notice.place) if role is not None else self._book.default()
        return list(dict.fromkeys(routes))


def identifiers_of(settings: Settings, sink: str, receiver: str) -> Identifiers:
    """How much of the patient a receiver may see through a sink."""
    named = settings.receivers.get(receiver)
    if named is not None and named.identifiers is not None:
        return named.identifiers
    return settings.sinks[sink].identifiers


def problems(settings: Settings, rules: Sequence[RuleBase], registry: Registry) -> list[str]:
    """What to say at start of receivers that cannot be reached, and of roles that nobody answers for."""
    wrong: list[str] = []
    if DEFAULT not in settings.receivers:
        wrong.append(f"no receiver is called `{DEFAULT}`: what names nobody else goes to every sink")
    for name, receiver in settings.receivers.items():
        wrong += [
            f"receiver {found(name)} names the sink {found(sink)}, which is not among `sinks`"
            for sink in receiver.sinks
            if sink not in settings.sinks
        ]
        if not receiver.email and any(_is_email(settings, sink) for sink in receiver.sinks):
            wrong.append(f"receiver {found(name)} has a sink that sends e-mail, but no `email` addresses")
    return wrong + _unanswered(settings, rules, registry)


def _unanswered(settings: Settings, rules: Sequence[RuleBase], registry: Registry) -> list[str]:
    """Roles that only `default` answers for; nothing where it is the only receiver, and so meant for all."""
    if set(settings.receivers) <= {DEFAULT} and not _addresses(settings, registry):
        return []
    book = _Book(settings, registry)
    unknown: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for role in dict.fromkeys([rule.owner, *notify_roles(rule, len(_ladder(rule)))]):
            if role is not None and rule.mode == "live" and not book.knows(role):
                unknown[_plain(role)].append(rule.id)
    if not unknown:
        return []
    named = ", ".join(f"`{role}` ({_some(ids)})" for role, ids in sorted(unknown.items()))
    return [f"no receiver or contact answers for these roles, so their alerts go to `{DEFAULT}`: {named}"]


class _Book:
    """The roles that somebody answers for, in the registry's places and among the receivers."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._receivers = {_plain(name): name for name in settings.receivers}
        self._emails = [name for name in settings.sinks if _is_email(settings, name)]
        nested: list[Microsystem | Mesosystem] = [*registry.mesosystems, *registry.microsystems]
        self._nested = {each.id: each for each in nested}

    def find(self, role: str, place: str | None) -> list[Route]:
        """Who answers for a role at a place: the nearest contact that can be reached, else a receiver, else `default`."""
        wanted = _plain(role)
        for each in self._upwards(place):
            for name, contact in each.contacts.items():
                routes = self._reach(contact) if _plain(name) == wanted else []
                if routes:
                    return routes
        return (wanted in self._receivers and self._of_receiver(self._receivers[wanted])) or self.default()

    def default(self) -> list[Route]:
        if DEFAULT in self._settings.receivers:
            return self._of_receiver(DEFAULT)
        return [(sink, DEFAULT) for sink in self._settings.sinks]

    def knows(self, role: str) -> bool:
        """Whether a receiver, or a contact of any place, answers for a role."""
        wanted = _plain(role)
        return wanted in self._receivers or any(
            _plain(name) == wanted and self._reach(contact)
            for each in self._nested.values()
            for name, contact in each.contacts.items()
        )

    def _reach(self, contact: str) -> list[Route]:
        """A contact is a receiver's name or an e-mail address; any other text is for people to read."""
        if _plain(contact) in self._receivers:
            return self._of_receiver(self._receivers[_plain(contact)])
        return [(sink, contact.strip()) for sink in self._emails] if is_address(contact) else []

    def _of_receiver(self, name: str) -> list[Route]:
        return [(sink, name) for sink in self._settings.receivers[name].sinks if sink in self._settings.sinks]

    def _upwards(self, place: str | None) -> Iterator[Microsystem | Mesosystem]:
        """The place and what it nests in, innermost first."""
        seen: set[str] = set()
        while place is not None and place in self._nested and place not in seen:
            seen.add(place)
            yield self._nested[place]
            place = self._nested[place].parent


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address, as far as one can see."""
    name, at, domain = text.strip().partition("@")
    return (
        bool(name and at and domain)
        and "@" not in domain
        and not any(each.isspace() for each in text.strip())
    )


def _addressed(notice: Notice, roles: Sequence[str]) -> list[str | None]:
    """The roles of a change; None stands for nobody in particular. A warning is for its own role, all else also for the owner."""
    if notice.level < 0 and roles:
        return list(roles)
    return [notice.owner, *roles]


def _ladder(rule: RuleBase) -> Sequence[object]:
    return rule.escalate if isinstance(rule, CaseRule) else ()


def _addresses(settings: Settings, registry: Registry) -> list[str]:
    """E-mail addresses among the contacts, where there is a sink for them."""
    if not any(_is_email(settings, sink) for sink in settings.sinks):
        return []
    nested: list[Microsystem | Mesosystem] = [*registry.mesosystems, *registry.microsystems]
    return [contact for each in nested for contact in each.contacts.values() if is_address(contact)]


def _is_email(settings: Settings, sink: str) -> bool:
    return isinstance(settings.sinks.get(sink), EmailSink)


def _plain(role: str) -> str:
    """A role as it is compared: capitals, underscores and spaces do not tell roles apart."""
    return " ".join(role.replace("_", " ").casefold().split())


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
