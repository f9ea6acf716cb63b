//! Any file of options and any file of credentials: no panic; what an options file says, its report says again; no error
//! quotes what stands in a file of credentials.
#![no_main]

use akvfs::mount::fuzzing::config;
use akvfs::vault::fuzzing::credentials;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config(text) {
        Ok(all) => {
            let report = all.report();
            let again = config(&report).unwrap_or_else(|error| panic!("{error}:\n{report}"));
            assert_eq!(again.settings.mount, all.settings.mount, "{report}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let canary = "canary-in-a-line";
    if let Err(why) = credentials(&text.replace('=', &format!("={canary}"))) {
        assert!(!why.contains(canary), "{why}");
    }
});
