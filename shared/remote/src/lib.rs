//! Adapters over HTTPS.
