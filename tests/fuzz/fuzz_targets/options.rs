//! Any command line: `-o` words, what a mount helper is called with, SOURCE. No panic; what is read says the same when it is
//! read again; no value of a word that would carry a secret is repeated.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use akvfs::mount::helper;
use akvfs::mount::options::layers::Configured;
use akvfs::mount::options::words::parse_list;
use akvfs::mount::source::{Source, Vault};
use libfuzzer_sys::fuzz_target;

fn check_words(list: &str) {
    let Ok(words) = parse_list(list) else { return };
    // A file may be anywhere, and is another target's.
    if words.iter().any(|word| word.name == "config") {
        return;
    }
    match Configured::gather(&words, &Default::default()) {
        Ok(all) => {
            let short = all.settings.in_short();
            // A comma or a quote in a value is written as it is: that is for people.
            if short.contains(['"', ' ']) || words.iter().any(|word| word.value.as_ref().is_some_and(|value| value.contains(','))) {
                return;
            }
            let words = parse_list(&short).expect("our own list");
            let again = Configured::gather(&words, &Default::default()).expect("our own words");
            assert_eq!(again.settings, all.settings, "{short}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|data: &[u8]| {
    let words: Vec<_> = data.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Ok(call) = helper::Call::parse(&words) {
        call.lists.iter().for_each(|list| check_words(list));
        assert!(words.iter().any(|word| *word == *call.source));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_words(text);
    match Source::parse(text) {
        Ok(source) => {
            assert_eq!(source.text, text);
            match source.vault {
                Vault::Azure { url } => assert!(url.starts_with("https://") && !url.contains('@') && !url.ends_with('/')),
                Vault::Loopback { url } => assert!(url.starts_with("http") && !url.contains('@') && !url.ends_with('/')),
                Vault::Local { path } => assert!(path.is_none_or(|path| path.is_absolute())),
            }
        }
        Err(error) => {
            let url = url::Url::parse(text).ok();
            let password = url.as_ref().and_then(url::Url::password).filter(|password| password.len() > 8);
            assert!(password.is_none_or(|password| !error.to_string().contains(password)));
        }
    }
});
