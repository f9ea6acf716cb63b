//! What the identity may do. Reading is tried without reading anybody's value where that is possible; changing on a
//! secret of the doctor's own, and only when it is asked for.

use std::time::Duration;

use super::report::{Line, Report, State};
use crate::cli::progress::Progress;
use crate::clock::Clock;
use crate::secret::{SecretAttributes, SecretName, SecretProperties, SecretValue};
use crate::store::{ErrorKind, SecretStore as _, StoreError, Wait};
use crate::vault::SecretClient;

/// A listing that takes longer is not read to its end.
const LISTING_LIMIT: Duration = Duration::from_secs(60);
/// How long a deletion or a recovery may take: longer than the longest recorded (149 s).
const SETTLED: Duration = Duration::from_secs(180);

/// A vault, and how long a request to it may take.
pub(super) struct Rights<'a> {
    pub client: &'a SecretClient,
    pub clock: &'a dyn Clock,
    pub limit: Duration,
}

/// Rights that are tried on the scratch secret, in this order.
const CHANGES: [&str; 5] = ["set", "backup", "delete", "recover", "purge"];

impl Rights<'_> {
    /// Listing and getting.
    pub fn check_reading(&self, report: &mut Report) {
        let (line, first) = self.list();
        report.add(line);
        report.add(self.get(first));
    }

    fn wait(&self) -> Wait {
        Wait::at_most(self.clock, self.limit)
    }

    /// Reads the whole listing, and gives a secret that is in it.
    fn list(&self) -> (Line, Option<SecretName>) {
        let mut progress = Progress::new(self.clock, "secrets listed");
        let end = self.clock.moment() + LISTING_LIMIT;
        let (mut from, mut count, mut first) = (None, 0, None);
        loop {
            let page = match self.client.list(from.as_ref(), self.wait()) {
                Ok(page) => page,
                Err(error) => return (refused("list", &error), None),
            };
            count += page.items.len();
            progress.at(count);
            first = first.or_else(|| page.items.into_iter().find(is_plain).map(|item| item.name));
            match page.next {
                None => return (Line::ok("list", format!("{count} secrets")), first),
                Some(_) if end.since(self.clock.moment()).is_zero() => {
                    return (
                        Line::ok("list", format!("more than {count} secrets; stopped after {LISTING_LIMIT:?}")),
                        first,
                    );
                }
                next => from = next,
            }
        }
    }

    /// A name that nobody has: who may get hears that it is not there, and no value is read. Who may get single secrets
    /// only is refused, so then a secret that was listed is tried.
    fn get(&self, listed: Option<SecretName>) -> Line {
        let error = match self.client.get(&scratch_name(), None, self.wait()) {
            Ok(_) => return Line::ok("get", "allowed"),
            Err(error) => error,
        };
        match (error.kind, listed) {
            (ErrorKind::NotFound, _) => Line::ok("get", "allowed"),
            (ErrorKind::Forbidden, Some(name)) => match self.client.get(&name, None, self.wait()) {
                Ok(_) => Line::warning("get", format!("allowed for {name}, but not for every secret"), WHERE),
                Err(error) => refused("get", &error),
            },
            _ => refused("get", &error),
        }
    }

    /// Everything that changes the vault, on a secret that is gone in the end where that is allowed.
    pub fn check_changing(&self, report: &mut Report) {
        let name = scratch_name();
        let value = SecretValue::new("akvfs doctor".to_owned());
        let made = self.client.set(&name, &value, &SecretAttributes::default(), self.wait());
        if !report.add(outcome("set", made.map(drop), &format!("{name} was made"))) {
            CHANGES[1..].iter().for_each(|check| {
                report.add(Line::skipped(check, "there is no secret to try it on"));
            });
            return;
        }
        let backed = self.client.backup(&name, self.wait());
        report.add(outcome("backup", backed.map(drop), "allowed"));
        if self.delete(report, &name) {
            self.recover_and_purge(report, &name);
        } else {
            report.add(Line::skipped("recover", "nothing was deleted"));
            report.add(Line::skipped("purge", "nothing was deleted"));
        }
    }

    fn delete(&self, report: &mut Report, name: &SecretName) -> bool {
        let deleted = self.deleted(name);
        if let Err(error) = &deleted {
            let remedy = format!("{}; {name} is left in the vault: have it deleted", right_for("delete"));
            return report.add(Line::failed("delete", error.to_string(), remedy));
        }
        report.add(outcome("delete", deleted, "allowed"))
    }

    fn deleted(&self, name: &SecretName) -> Result<(), StoreError> {
        let mut poller = self.client.begin_delete_secret(name)?;
        only_if_seen(poller.wait(SETTLED).map(drop))
    }

    fn recover_and_purge(&self, report: &mut Report, name: &SecretName) {
        let recovered = self.recovered(name);
        let again = recovered.is_ok();
        report.add(outcome("recover", recovered, "allowed"));
        let deleted = if again { self.deleted(name) } else { Ok(()) };
        let purged = deleted.and_then(|()| self.client.purge(name, self.wait()));
        report.add(purge_line(name, purged));
    }

    fn recovered(&self, name: &SecretName) -> Result<(), StoreError> {
        let mut poller = self.client.begin_recover_deleted_secret(name)?;
        only_if_seen(poller.wait(SETTLED).map(drop))
    }
}

/// Who may not look whether it is done is none the worse for it.
fn only_if_seen(waited: Result<(), StoreError>) -> Result<(), StoreError> {
    match waited {
        Err(error) if error.kind == ErrorKind::Forbidden => Ok(()),
        other => other,
    }
}

fn purge_line(name: &SecretName, purged: Result<(), StoreError>) -> Line {
    let Err(error) = purged else { return Line::ok("purge", format!("allowed; {name} is gone")) };
    let left = format!("{name} stays among the deleted until the vault purges it");
    match error.kind {
        ErrorKind::PurgeProtected => {
            Line::warning("purge", "the vault forbids it to everybody (purge protection)", left)
        }
        _ => Line::failed("purge", error.to_string(), format!("{}; {left}", right_for("purge"))),
    }
}

fn is_plain(item: &SecretProperties) -> bool {
    !item.is_disabled() && !item.is_managed()
}

fn outcome(check: &'static str, result: Result<(), StoreError>, fine: &str) -> Line {
    match result {
        Ok(()) => Line::ok(check, fine),
        Err(error) => refused(check, &error),
    }
}

const WHERE: &str = "rights given on single secrets reach no further; give them on the vault to reach all";

fn refused(check: &'static str, error: &StoreError) -> Line {
    match error.kind {
        ErrorKind::Forbidden => {
            Line { check, state: State::Failed, said: error.to_string(), remedy: Some(right_for(check)) }
        }
        _ => Line::of(check, error),
    }
}

/// Roles of Azure's "Provide access to Key Vault keys, certificates, and secrets with Azure role-based access control".
fn right_for(check: &str) -> String {
    let role = if matches!(check, "list" | "get") { "Key Vault Secrets User" } else { "Key Vault Secrets Officer" };
    format!("give the identity the role {role}, or in an access policy the secret permission {check}")
}

/// Nobody's. Four billion of them, so that two doctors do not meet.
fn scratch_name() -> SecretName {
    let number = getrandom::u32().unwrap_or_default();
    SecretName::parse(&format!("akvfs-doctor-{number:08x}"))
        .unwrap_or_else(|_| unreachable!("letters, digits and dashes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Operation;

    #[test]
    fn a_missing_right_names_the_role_and_the_permission() {
        let error = StoreError::local(Operation::Set, None, ErrorKind::Forbidden, "no");
        let remedy = refused("set", &error).remedy.unwrap();
        assert!(remedy.contains("Secrets Officer") && remedy.ends_with("permission set"), "{remedy}");
        assert!(refused("get", &error).remedy.unwrap().contains("Secrets User"));
        let other = StoreError::local(Operation::Set, None, ErrorKind::Firewall, "no");
        assert!(refused("set", &other).remedy.unwrap().contains("firewall"));
    }

    #[test]
    fn what_is_left_of_the_scratch_secret_is_told() {
        let name = scratch_name();
        let error = |kind| Err(StoreError::local(Operation::Purge, Some(&name), kind, "no"));
        let protected = purge_line(&name, error(ErrorKind::PurgeProtected));
        assert_eq!(protected.state, State::Warning);
        assert!(protected.remedy.unwrap().contains(name.as_str()));
        let refused = purge_line(&name, error(ErrorKind::Forbidden));
        assert_eq!((refused.state, refused.remedy.unwrap().contains(name.as_str())), (State::Failed, true));
        assert_eq!(purge_line(&name, Ok(())).state, State::Ok);
    }
}
