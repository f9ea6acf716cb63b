//! The local vault over real HTTP: what is known of the service, sentence by sentence.

#[macro_use]
#[path = "../support/skipped.rs"]
mod skipped;

mod backups;
mod bodies;
mod command;
mod disk;
mod faults;
mod http;
mod manners;
mod network;
mod paging;
mod refusals;
mod states;
mod support;
mod tls;
