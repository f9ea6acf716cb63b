//! Any steps on the files: open, write, flush, rename, unlink, others' changes, refusals, a restart; the filesystem and the
//! reference of `tests/model` do the same after each.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the model's test uses all of it")]

#[path = "../../model/compare.rs"]
mod compare;
#[path = "../../model/op.rs"]
mod op;
#[path = "../../model/others.rs"]
mod others;
#[path = "../../model/reference/mod.rs"]
mod reference;
#[path = "../../model/run.rs"]
mod run;
#[path = "../../support/mod.rs"]
mod support;
#[path = "../../model/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(failure) = run::told(data) {
        panic!("{}", run::shrink(failure));
    }
});
