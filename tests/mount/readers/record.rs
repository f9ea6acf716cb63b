//! What is saved while others read: records that carry their length and a checksum, so that every part of one, and
//! every mixture of two, is told from a whole one.

/// Length, checksum.
const HEAD: usize = 8 + 16;
/// Every record's length is a multiple of this, so that a size alone can be wrong.
const STEP: usize = 97;
/// The longest record; two of them fit into a value.
const LONGEST: usize = 12_000;
/// What git writes before a value.
pub const GIT: &str = "[a]\n\tb = ";

/// A record of a length that varies widely: one line.
pub fn record(round: u64) -> String {
    let steps = (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % (LONGEST / STEP) + 1;
    record_of(round, steps * STEP)
}

/// A record of this length.
pub fn record_of(round: u64, length: usize) -> String {
    let letters = length - HEAD - 1;
    let payload: String = (0..letters).map(|at| char::from(b'a' + ((at as u64 * 7 + round) % 26) as u8)).collect();
    format!("{length:08}{:016x}{payload}\n", checksum(payload.as_bytes()))
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// What a reader got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Records, each whole.
    Whole,
    /// Bytes that nobody wrote.
    Zeros,
    /// Nothing, or a record that ends early.
    Short,
    /// Parts of several.
    Torn,
}

/// Judges what was read.
pub fn judge(bytes: &[u8]) -> Verdict {
    if bytes.contains(&0) {
        return Verdict::Zeros;
    }
    let mut rest = bytes.strip_prefix(GIT.as_bytes()).unwrap_or(bytes);
    if rest.is_empty() {
        return Verdict::Short;
    }
    while !rest.is_empty() {
        let text = |range| rest.get(range).and_then(|part| std::str::from_utf8(part).ok());
        let Some(head) = text(0..HEAD) else { return Verdict::Short };
        let (Ok(length), Ok(sum)) = (head[..8].parse::<usize>(), u64::from_str_radix(&head[8..], 16)) else {
            return Verdict::Torn;
        };
        match rest.get(HEAD..length) {
            None => return Verdict::Short,
            Some([payload @ .., b'\n']) if checksum(payload) == sum => rest = &rest[length..],
            Some(_) => return Verdict::Torn,
        }
    }
    Verdict::Whole
}

/// Whether a file of records can be this long.
pub fn is_a_size(length: u64) -> bool {
    let is_whole = |length: u64| length > 0 && length.is_multiple_of(STEP as u64);
    is_whole(length) || length.checked_sub(GIT.len() as u64).is_some_and(is_whole)
}

#[test]
fn every_cut_and_every_mixture_is_noticed() {
    let (old, new) = (record_of(1, 10 * STEP), record_of(2, 10 * STEP));
    assert_eq!(judge(old.as_bytes()), Verdict::Whole);
    assert_eq!(judge(format!("{old}{new}").as_bytes()), Verdict::Whole);
    assert_eq!(judge(format!("{GIT}{new}").as_bytes()), Verdict::Whole);
    for at in 0..old.len() {
        assert_eq!(judge(&old.as_bytes()[..at]), Verdict::Short, "cut at {at}");
        let mixed = format!("{}{}", &new[..at], &old[at..]);
        assert_eq!(judge(mixed.as_bytes()) == Verdict::Whole, mixed == old || mixed == new, "mixed at {at}");
        assert!(!is_a_size(at as u64) || at % STEP == 0 || at > GIT.len(), "{at}");
    }
    assert_eq!(judge(&[old.as_bytes(), &[0; 9]].concat()), Verdict::Zeros);
    assert!(is_a_size(old.len() as u64) && !is_a_size(0) && !is_a_size(old.len() as u64 + 1));
}
