//! Prometheus' text exposition format (version 0.0.4), as its "Exposition formats" page describes it. Knows the
//! format, and nothing of what is counted.

use std::fmt::{Display, Write as _};

/// A label's name and its value, which may be any text.
pub type Label<'a> = (&'a str, &'a str);

/// A page in the making.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a family of samples. `kind` is `counter` or `gauge`; `help` is one line.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// One sample of the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: &[Label<'_>], number: impl Display) {
        if labels.is_empty() {
            return self.line(format_args!("{name} {number}"));
        }
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        self.line(format_args!("{name}{{{}}} {number}", labels.join(",")));
    }

    /// A family of one sample.
    pub fn number(&mut self, name: &str, kind: &str, help: &str, number: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], number);
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A label's value: backslash, quote and line feed are the three that must be escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_type_and_samples() {
        let mut page = Page::default();
        page.family("akvfs_x_total", "counter", "Things.");
        page.sample("akvfs_x_total", &[("a", "1"), ("b", "2")], 3);
        page.number("akvfs_y", "gauge", "One thing.", 0.5);
        let expected = "# HELP akvfs_x_total Things.\n# TYPE akvfs_x_total counter\nakvfs_x_total{a=\"1\",b=\"2\"} 3\n\
                        # HELP akvfs_y One thing.\n# TYPE akvfs_y gauge\nakvfs_y 0.5\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_label_may_hold_any_text() {
        let mut page = Page::default();
        page.sample("x", &[("dir", "a\\b\"c\nd ü")], 1);
        assert_eq!(page.into_text(), "x{dir=\"a\\\\b\\\"c\\nd ü\"} 1\n");
    }
}
