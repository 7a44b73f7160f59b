"""Ports that stay a test's own: nobody else of this machine is given them, as a server's or as a client's."""

import socket


def held_port():
    """A socket that is bound to a port and does not listen: who connects there is refused, until a server that is told of it listens beside."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def port_of(held):
    """The port of such a socket."""
    return held.getsockname()[1]
