//! What the caller of this program left open: a lock, or a pipe at whose end somebody waits. A process in the background would
//! keep it for as long as the mount is there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::process;

/// How a descriptor is named as a file: a mount that somebody else has made, or what an option is to be read from.
const PLACES: [&[u8]; 2] = [b"/dev/fd/", b"/proc/self/fd/"];

/// Closes all but the standard descriptors, which [`daemon`](super::daemon) does later, and what the command line or the
/// environment names. To be called before anything else is opened.
pub fn close() {
    let variables = std::env::vars_os().map(|(_, value)| value);
    let kept = std::env::args_os().chain(variables).flat_map(|word| named(&word)).collect();
    for (first, last) in gaps(&kept) {
        // A kernel that cannot (before 5.9) leaves them open.
        let _ = process::close_range(first, last);
    }
}

/// The descriptors that a word names.
fn named(word: &OsStr) -> BTreeSet<u32> {
    let word = word.as_bytes();
    let parts = (0..word.len()).map(|at| &word[at..]);
    let behind = parts.flat_map(|part| PLACES.iter().filter_map(move |place| part.strip_prefix(*place)));
    behind.filter_map(number).collect()
}

fn number(text: &[u8]) -> Option<u32> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..length]).ok()?.parse().ok()
}

/// From 3 up, what lies between those that are kept: first and last.
fn gaps(kept: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut first = 3;
    let mut gaps = Vec::new();
    for kept in kept.range(3..) {
        gaps.push((first, kept - 1));
        first = kept.saturating_add(1);
    }
    gaps.push((first, u32::MAX));
    gaps.retain(|(first, last)| first <= last);
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_found_in_every_word_and_lies_in_no_gap() {
        for (word, numbers) in [
            ("/dev/fd/3", vec![3]),
            ("ro,ca_file=/dev/fd/63,audit_file=/proc/self/fd/7", vec![7, 63]),
            ("/dev/fd/", vec![]),
            ("/dev/fd/x5", vec![]),
            ("/dev/fd/99999999999", vec![]),
            ("/dev/fdx/5", vec![]),
            ("5", vec![]),
        ] {
            assert_eq!(named(OsStr::new(word)), numbers.into_iter().collect(), "{word}");
        }
        let all = |kept: &[u32]| gaps(&kept.iter().copied().collect());
        assert_eq!(all(&[]), [(3, u32::MAX)]);
        assert_eq!(all(&[0, 3, 4, 9]), [(5, 8), (10, u32::MAX)]);
        assert_eq!(all(&[5]), [(3, 4), (6, u32::MAX)]);
    }
}
