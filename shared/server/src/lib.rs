//! Kit of the long-running services.
