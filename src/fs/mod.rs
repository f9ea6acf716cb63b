//! Files and inodes.
