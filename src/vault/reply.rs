//! An HTTP answer as plain data, so that everything behind the one file that knows HTTP can be tested without it.

use zeroize::Zeroizing;

/// A whole answer. It does not print: a body may hold a value.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in any case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body; wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The first header called `name`, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// All headers called `name`.
    pub fn headers_called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// Whether the status says that it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
