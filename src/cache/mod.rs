//! The cache: a store in front of another.
