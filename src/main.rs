//! The command line: parse, run, print one line on error, exit.

fn main() {}
