"""The gRPC API: one file a service, one table of who may call what, one table of errors."""

import os

# Before any file of this package imports gRPC: Ray forks to start its processes, and gRPC's own handlers of forks have
# nothing to do in an orchestrator but to complain (and, in open reports, to deadlock).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# A client that is refused during the TLS handshake is not worth a line; errors are.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
