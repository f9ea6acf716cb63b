//! What must never be (ARCHITECTURE.md), read off the sources.
//!
//! A plain scan of tokens: comments, literals and the test module at a file's end are left out, and paths are
//! followed through `crate::`, `super::` and groups. It need not understand Rust; it must catch who forgot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

/// A module of the crate's root that some files must not import.
struct Floor {
    /// Where the rule holds: paths below `src/` that start so.
    at: &'static str,
    /// Except here.
    except: &'static [&'static str],
    never: &'static [&'static str],
    reason: &'static str,
}

const FLOORS: &[Floor] = &[
    Floor {
        at: "fs/",
        except: &[],
        never: &["vault", "cache", "fuse", "local", "mount", "cli"],
        reason: "files know a vault only through store::SecretStore, so that they can be tested on a model",
    },
    Floor {
        at: "vault/",
        except: &[],
        never: &["fs", "fuse", "mount", "cache", "local", "cli"],
        reason: "the client is a library of its own; what it shares with the local vault they would both get wrong",
    },
    Floor {
        at: "cache/",
        except: &[],
        never: &["fs", "fuse", "mount", "vault", "local", "cli"],
        reason: "the cache stands before any store and knows none",
    },
    Floor {
        at: "local/",
        except: &[],
        never: &["fs", "fuse", "mount", "vault", "cache", "cli"],
        reason: "the local vault is the client's other side; what they share they would both get wrong",
    },
    Floor {
        at: "fuse/",
        except: &[],
        never: &["vault", "cache", "local", "mount", "cli"],
        reason: "the kernel side translates for fs and thinks nothing itself",
    },
    Floor {
        at: "mount/",
        except: &[
            "mount/session.rs",
            "mount/session/attended.rs",
            "mount/session/errands.rs",
            "mount/session/connect.rs",
            "mount/session/floors.rs",
            "mount/session/needs.rs",
            "mount/session/news.rs",
            "mount/session/signing.rs",
        ],
        never: &["vault", "cache", "local", "fs", "fuse", "cli"],
        reason: "mount/session.rs is the only wiring",
    },
    Floor {
        at: "cli/",
        except: &[],
        never: &["fs", "fuse", "cache"],
        reason: "commands ask mount/ for a mount; mount/session.rs is the only wiring",
    },
    Floor {
        at: "secret.rs",
        except: &[],
        never: &["clock", "store", "vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "the words that everybody uses know nobody",
    },
    Floor {
        at: "memory/",
        except: &[],
        never: &["secret", "clock", "store", "vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "what values stand in knows nobody",
    },
    Floor {
        at: "clock.rs",
        except: &[],
        never: &["secret", "store", "vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "the clock knows nobody",
    },
    Floor {
        at: "private.rs",
        except: &[],
        never: &["secret", "clock", "store", "vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "who may read a file is the same question for everybody",
    },
    Floor {
        at: "metrics/",
        except: &[],
        never: &["vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "any floor may count, so the counters know none of them",
    },
    Floor {
        at: "around.rs",
        except: &[],
        never: &["vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "a way to stand before any store knows none",
    },
    Floor {
        at: "pages.rs",
        except: &[],
        never: &["vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "whoever follows a listing stops at the same place, so it knows none of them",
    },
    Floor {
        at: "store.rs",
        except: &[],
        never: &["vault", "cache", "local", "fs", "fuse", "mount", "cli"],
        reason: "the seam knows neither of its sides",
    },
];

/// Words that only some files may use, as a run of tokens.
struct Word {
    tokens: &'static [&'static str],
    /// Where the rule holds.
    at: &'static [&'static str],
    /// Paths that may, by their beginning.
    only: &'static [&'static str],
    reason: &'static str,
}

const TESTS: &str = "#[cfg(test)]";
const CLOCK: &str = "a time that is asked for elsewhere cannot be moved by a test";
const TWICE: &str = "JSON code that client and local vault share would hide the same mistake on both sides";

#[rustfmt::skip]
const WORDS: &[Word] = &[
    Word { tokens: &["reqwest"], at: &[""], only: &["vault/http.rs"], reason: "one send, in one place: no redirect, no second client without our limits" },
    Word { tokens: &["serde_json"], at: &["vault/"], only: &["vault/wire.rs"], reason: "what the service's JSON means is decided in one file" },
    Word { tokens: &["serde_json"], at: &["secret.rs", "store.rs", "clock.rs"], only: &[], reason: TWICE },
    Word { tokens: &["serde"], at: &["secret.rs", "store.rs", "clock.rs"], only: &[], reason: TWICE },
    Word { tokens: &["fuser"], at: &[""], only: &["fuse/", "mount/"], reason: "the library's types change with every version; one module meets them" },
    Word { tokens: &["azure_identity"], at: &[""], only: &["vault/auth.rs", "vault/auth/"], reason: "signing in, and the runtime it needs, live in one place" },
    Word { tokens: &["libc", "::", "fork"], at: &[""], only: &["mount/daemon.rs"], reason: "a fork is only safe while there is one thread" },
    Word { tokens: &["Instant", "::", "now"], at: &[""], only: &["clock.rs"], reason: CLOCK },
    Word { tokens: &["SystemTime", "::", "now"], at: &[""], only: &["clock.rs"], reason: CLOCK },
    Word { tokens: &["UtcDateTime", "::", "now"], at: &[""], only: &["clock.rs"], reason: CLOCK },
    Word { tokens: &["OffsetDateTime", "::", "now_utc"], at: &[""], only: &["clock.rs"], reason: CLOCK },
    Word { tokens: &["OffsetDateTime", "::", "now_local"], at: &[""], only: &["clock.rs"], reason: CLOCK },
    Word { tokens: &[".", "elapsed"], at: &[""], only: &["clock.rs"], reason: CLOCK },
];

/// What is wrong with the file at `path` (below `src/`).
fn violations(path: &str, source: &str) -> Vec<String> {
    if path.ends_with("tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let tokens = tokens(without_tests(&plain(source)));
    let imported = imported(path, &tokens);
    let floors = FLOORS.iter().filter(|rule| path.starts_with(rule.at) && !rule.except.contains(&path));
    let words = WORDS.iter().filter(|rule| starts_with_any(path, rule.at) && !starts_with_any(path, rule.only));
    let mut found: Vec<String> = floors
        .flat_map(|rule| rule.never.iter().map(move |never| (never, rule.reason)))
        .filter(|(never, _)| imported.iter().any(|module| module == *never))
        .map(|(never, reason)| format!("src/{path} imports {never}: {reason}"))
        .collect();
    found.extend(
        words
            .filter(|rule| tokens.windows(rule.tokens.len()).any(|run| run == rule.tokens))
            .map(|rule| format!("src/{path} uses {}: {}", rule.tokens.concat(), rule.reason)),
    );
    found
}

fn starts_with_any(path: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| path.starts_with(beginning))
}

/// The modules of the crate's root that the file names, through `crate::` or enough `super::`.
fn imported(path: &str, tokens: &[String]) -> Vec<String> {
    let depth = depth(path);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = at == 0 || tokens[at - 1] != "::";
        let ups = tokens[at..].chunks(2).take_while(|pair| *pair == ["super", "::"]).count();
        if begins && tokens[at..].starts_with(&["crate".to_owned(), "::".to_owned()]) {
            found.extend(heads(&tokens[at + 2..]));
        } else if begins && ups > 0 && ups == depth {
            found.extend(heads(&tokens[at + 2 * ups..]));
        }
        at += 1;
    }
    found
}

/// How many `super` lead from the file's module to the crate's root.
fn depth(path: &str) -> usize {
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(module, "lib" | "main") { 0 } else { module.split('/').count() }
}

/// The first names of a path or of a group of paths: `a::b` has `a`, `{a::b, c::{d}}` has `a` and `c`.
fn heads(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut found = Vec::new();
    let mut open = 0;
    for (before, token) in tokens.iter().zip(&tokens[1..]) {
        match before.as_str() {
            "{" => open += 1,
            "}" => open -= 1,
            _ => {}
        }
        if open == 0 {
            break;
        }
        if open == 1 && (before == "{" || before == ",") {
            found.push(token.clone());
        }
    }
    found
}

/// Identifiers, `::`, and every other sign by itself.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |sign: char| sign.is_alphanumeric() || sign == '_';
        let length = match first {
            _ if in_word(first) => rest.find(|sign| !in_word(sign)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        found.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    found
}

/// Without the test module that stands, by custom, at the file's end.
fn without_tests(text: &str) -> &str {
    let opens_module = |behind: &str| {
        let item = behind.trim_start().strip_prefix("mod ").unwrap_or("");
        item.find(['{', ';']).is_some_and(|at| item[at..].starts_with('{'))
    };
    let module = text.match_indices(TESTS).find(|(at, mark)| opens_module(&text[at + mark.len()..]));
    module.map_or(text, |(at, _)| &text[..at])
}

/// The source without comments, and with empty literals.
fn plain(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (keep, skip) = match literal_or_comment(rest, &kept) {
            Some(length) => (" ", length),
            None => (&rest[..first.len_utf8()], first.len_utf8()),
        };
        kept.push_str(keep);
        rest = &rest[skip..];
    }
    kept
}

/// The length of the comment or literal that `rest` begins with.
fn literal_or_comment(rest: &str, before: &str) -> Option<usize> {
    let in_word = before.ends_with(|sign: char| sign.is_alphanumeric() || sign == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(until_quote(rest, '"'));
    }
    if !in_word && let Some(hashes) = raw_string(rest) {
        let end = format!("\"{}", "#".repeat(hashes));
        let body = hashes + 2;
        return Some(rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()));
    }
    character(rest)
}

fn block_comment(rest: &str) -> usize {
    let mut open = 0;
    for (at, _) in rest.char_indices() {
        if rest[at..].starts_with("/*") {
            open += 1;
        } else if rest[at..].starts_with("*/") {
            open -= 1;
        }
        if open == 0 {
            return at + 2;
        }
    }
    rest.len()
}

/// The number of hashes of `r"` or `r#"`.
fn raw_string(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    behind[hashes..].starts_with('"').then_some(hashes)
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let closed = inside[first.len_utf8()..].starts_with('\'');
    (first == '\\' || closed).then(|| until_quote(rest, '\''))
}

fn until_quote(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if sign == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect()
}

#[test]
fn what_must_never_be_is_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 10, "the sources were not found in {}", root.display());
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
            violations(path, &std::fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn planted_violations_are_caught() {
    for (path, source) in [
        ("fs/tree.rs", "use crate::vault::SecretClient;"),
        ("fs/tree.rs", "use crate::{secret::SecretName, cache::{CachedStore, lru}};"),
        ("fs/nodes/value.rs", "use super::super::super::fuse::pool;"),
        ("fs/mod.rs", "use super::{store::SecretStore, local};"),
        ("fs/tree.rs", "fn f() { let x = crate :: mount :: session :: start(); }"),
        ("vault/client.rs", "use super::super::cache;"),
        ("cache/mod.rs", "pub(in crate::cache) fn f() {} use crate::local::model;"),
        ("local/routes.rs", "use crate::vault::wire;"),
        ("fuse/adapter.rs", "use crate::cache::CachedStore;"),
        ("mount/options.rs", "use crate::vault::auth;"),
        ("cli/mount.rs", "use crate::fs::SecretFs;"),
        ("secret.rs", "use crate::clock::Clock;"),
        ("memory/arena.rs", "use crate::secret::SecretValue;"),
        ("private.rs", "use crate::vault::AuthError;"),
        ("store.rs", "use crate::cache::CachedStore;"),
        ("metrics/mod.rs", "use crate::cache::CacheOptions;"),
        ("vault/client.rs", "use reqwest::blocking::Client;"),
        ("vault/client.rs", "let x = serde_json::json!({});"),
        ("secret.rs", "#[derive(serde::Serialize)] struct X;"),
        ("fs/tree.rs", "fn f(kind: fuser::FileType) {}"),
        ("vault/http.rs", "use azure_identity::AzureCliCredential;"),
        ("mount/process.rs", "unsafe { libc::fork() };"),
        ("cache/lru.rs", "let now = std::time::Instant::now();"),
        ("local/model.rs", "time::UtcDateTime::now()"),
        ("fs/attr.rs", "SystemTime::UNIX_EPOCH.elapsed()"),
        ("fs/attr.rs", "const QUOTE: char = '\"'; fn f() { SystemTime::now(); } // \""),
        ("fs/attr.rs", "fn f<'a>(x: &'a str) { SystemTime::now(); }"),
        ("fs/attr.rs", "#[cfg(test)]\nmod tests;\nfn f() { SystemTime::now(); }"),
        ("fs/attr.rs", "const RAW: &str = r#\"\"#; fn f() { SystemTime::now(); }"),
    ] {
        assert_eq!(violations(path, source).len(), 1, "{path}: {source}: {:?}", violations(path, source));
    }
}

#[test]
fn what_may_be_is_let_through() {
    for (path, source) in [
        ("fs/tree.rs", "use crate::store::SecretStore; use super::handles; use crate::{secret, clock};"),
        ("fs/nodes/value.rs", "use super::super::fuse;"),
        ("fs/tree.rs", "// use crate::vault::SecretClient;\n/* reqwest /* nested */ crate::vault */"),
        ("fs/tree.rs", "const TEXT: &str = \"crate::vault::x \\\" Instant::now()\"; const RAW: &str = r#\"reqwest\"#;"),
        ("cache/lru.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n use crate::local::model;\n Instant::now();\n}"),
        ("mount/options/tests.rs", "use crate::vault::auth;"),
        ("metrics/metered.rs", "use crate::store::SecretStore; use crate::clock::Clock;"),
        ("mount/session.rs", "use crate::{cache, fs, fuse, local, vault}; use fuser::Config;"),
        ("vault/http.rs", "use reqwest::blocking::Client;"),
        ("vault/wire.rs", "use serde_json::Value;"),
        ("local/routes.rs", "use serde_json::Value;"),
        ("mount/daemon.rs", "libc::fork()"),
        ("clock.rs", "Instant::now(); SystemTime::now();"),
        ("vault/mod.rs", "pub mod local_time; fn f(crate_: u8) {} use crate::vault::http;"),
    ] {
        assert_eq!(violations(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}
