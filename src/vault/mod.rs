//! The vault's client.
