//! The init container, the sidecar and the operator tool.
