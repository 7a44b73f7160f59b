"""`handoff topics`: makes the topics of a Kafka cluster, or says in what they are not as they have to be."""

from __future__ import annotations

import argparse
from typing import Final

from monitor.commands.run import SETTINGS_FILE, settings_of
from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams
from monitor.ingest.brokers import Trouble
from monitor.report.names import counted
from monitor.runtime.topics import create, differences, wanted
from monitor.settings import Cluster, Settings

_ACTIONS: Final = {
    "create": "make those that are not there; what is there stays as it is",
    "check": "say what is not as the settings have it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, summary in _ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        action.add_argument("--settings", metavar="FILE", help=f"default: {SETTINGS_FILE}, if it is there")
        action.set_defaults(action=name)


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Create or check."""
    cluster = cluster_of(settings_of(args, streams))
    if args.action == "create":
        try:
            made = create(cluster)
        except Trouble as trouble:
            raise Failed(UNABLE, str(trouble)) from trouble
        streams.print("".join(f"{name} made\n" for name in made))
    refuse_differences(cluster)
    streams.print(f"{counted(len(wanted(cluster)), 'topic')}, all as they have to be\n")
    return FINE


def cluster_of(settings: Settings) -> Cluster:
    """The cluster that the settings name."""
    if settings.cluster is None:
        raise Failed(USAGE, "which Kafka cluster? Name its `brokers` under `cluster` in the settings")
    return settings.cluster


def refuse_differences(cluster: Cluster) -> None:
    """Ends the command where the topics are not as they have to be: no command may work on such."""
    try:
        found = differences(cluster)
    except Trouble as trouble:
        raise Failed(UNABLE, str(trouble)) from trouble
    if found:
        raise Failed(PROBLEMS, "\nhandoff: ".join(found))
