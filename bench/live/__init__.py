"""The live service under load: the real process, real sockets, the real disk."""
