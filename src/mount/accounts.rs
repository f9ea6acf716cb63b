//! Users and groups by name, as `/etc/passwd` and `/etc/group` have them: read once, waiting for no directory service.

use std::collections::BTreeMap;

/// Numbers by name.
pub type Numbers = BTreeMap<String, u32>;

/// The users of this machine.
pub fn users() -> Numbers {
    read("/etc/passwd")
}

/// Its groups.
pub fn groups() -> Numbers {
    read("/etc/group")
}

/// A file that is missing knows nobody.
fn read(path: &str) -> Numbers {
    parse(&std::fs::read_to_string(path).unwrap_or_default())
}

/// `name:password:number:…` (passwd(5), group(5)).
fn parse(text: &str) -> Numbers {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        Some((name.to_owned(), number.parse().ok()?))
    };
    text.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers() {
        let found = parse("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:\n# a remark\nbroken\n+::::\n");
        assert_eq!(found, Numbers::from([("root".to_owned(), 0), ("www-data".to_owned(), 33)]));
        assert_eq!(users().get("root"), Some(&0));
    }
}
