"""The gRPC API: one file a service, one error table, one access table."""
