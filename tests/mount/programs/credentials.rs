//! Passwords as files: git's store, and the variables `*_FILE` of container images.

use super::super::harness::{At, World};
use super::have;

#[test]
fn git_reads_and_writes_its_credentials_in_a_mount() {
    if !have(&["git"]) {
        return;
    }
    let stored = "https://me:word@example.com\n";
    for at in [At::Secret, At::Flat] {
        let Some(world) = World::new(&[("git", stored)], "") else { return };
        let git = |action: &str, host: &str, more: &str| {
            let script = format!(
                r#"printf 'protocol=https\nhost={host}\n{more}\n' |
                GIT_TERMINAL_PROMPT=0 git -c credential.helper= -c credential.helper="store --file '$V'" credential {action}"#
            );
            world.bash_at(at, "git", &script)
        };
        assert!(git("fill", "example.com", "").ok().contains("username=me\npassword=word\n"), "{at:?}");
        assert_ne!(git("fill", "example.org", "").code, 0, "{at:?}");
        git("approve", "example.org", "username=you\npassword=sword\n").ok();
        assert_eq!(world.vault.get("git"), Ok(format!("https://you:sword@example.org\n{stored}")), "{at:?}");
        assert!(git("fill", "example.org", "").ok().contains("password=sword\n"), "{at:?}");
        git("reject", "example.org", "username=you\npassword=sword\n").ok();
        assert_eq!((world.vault.get("git").as_deref(), world.vault.versions("git").len()), (Ok(stored), 3), "{at:?}");
        assert_eq!(world.bash_at(at, "git", r#"ls -A "$D" | grep -c lock"#).out, "0\n");
    }
}

/// The idiom of the official images of databases, with bash and with a plain shell.
#[test]
fn variables_that_name_a_file_are_filled_from_a_mount() {
    let Some(world) = World::new(&[("db-password", "pass word"), ("line", "with a newline\n")], "") else { return };
    let bash = r#"
        file_env() {
            local var="$1" file="${1}_FILE"
            if [ "${!file:-}" ]; then export "$var"="$(< "${!file}")"; fi
            unset "$file"
        }
        export DB_PASSWORD_FILE="$V" && file_env DB_PASSWORD && printf '<%s>' "$DB_PASSWORD""#;
    let plain = r#"export DB_PASSWORD_FILE="$V" && dash -c 'DB_PASSWORD=$(cat "$DB_PASSWORD_FILE") && printf "<%s>" "$DB_PASSWORD"'"#;
    for at in [At::Secret, At::Flat] {
        for script in [bash, plain] {
            assert_eq!(world.bash_at(at, "db-password", script).ok(), "<pass word>");
            assert_eq!(world.bash_at(at, "line", script).ok(), "<with a newline>");
        }
    }
}
