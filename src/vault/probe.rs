//! The steps before a vault's first answer, one by one, for who wants to know which of them fails.

use std::fmt::{self, Write as _};

use super::address::Target;
use super::calls::unanswered;
use super::challenge::Challenge;
use super::http::Verb;
use super::link::{Call, Failed};
use super::wire::{self, Claims};
use super::{SecretClient, Token};
use crate::clock::unix_seconds;
use crate::store::{Operation, StoreError, Wait};

impl SecretClient {
    /// What the vault asks for when it is asked without a token: connects, and checks certificate and challenge. Asks
    /// once.
    ///
    /// # Errors
    /// Tells by its kind which step failed.
    pub fn challenge(&self, wait: Wait) -> Result<Challenge, StoreError> {
        let call = self.probe();
        self.link.ask_challenge(&call, wait).map_err(|failed| unanswered(&call, failed))
    }

    /// Signs in, and tells as whom: `None` where the token does not say, as that of a local vault.
    ///
    /// # Errors
    /// If there is no token.
    pub fn sign_in(&self, wait: Wait) -> Result<Option<Claims>, StoreError> {
        let call = self.probe();
        let token = self.link.sign_in(&call, wait).map_err(|failed: Failed| unanswered(&call, failed))?;
        Ok(claims(&token))
    }

    /// By how many seconds the vault's clock is ahead of ours, give or take one; negative if it is behind. `None` before its first answer.
    pub fn clock_ahead(&self) -> Option<i64> {
        let clock = &*self.link.clock;
        Some(self.link.server_time().at(clock.moment())? - unix_seconds(clock))
    }

    fn probe(&self) -> Call<'static> {
        self.call(Operation::List, None, Verb::Get, Target::Secrets)
    }
}

/// What a token says of its bearer. Not verified: the vault does that; this is for people to read.
fn claims(token: &Token) -> Option<Claims> {
    let mut parts = token.expose().split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    wire::claims(payload)
}

impl fmt::Display for Claims {
    /// `application 7c…, object id 1e…, tenant 5f…`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let person = self.upn.as_ref().or(self.unique_name.as_ref()).map(|name| format!("user {name}"));
        let resource = self.xms_mirid.as_ref().map(|resource| format!("the managed identity {resource}"));
        let application = self.appid.as_ref().or(self.azp.as_ref()).map(|id| format!("application {id}"));
        let object = self.oid.as_ref().map(|id| format!("object id {id}"));
        let tenant = self.tid.as_ref().map(|id| format!("tenant {id}"));
        let known: Vec<_> = [person, resource, application, object, tenant].into_iter().flatten().collect();
        // What stands in a token is somebody else's text.
        known.join(", ").chars().filter(|letter| !letter.is_control()).try_for_each(|letter| out.write_char(letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_no_jwt_says_nothing() {
        for text in ["", "local", "a.b", "a.b.c", "a.eyJ9.c", "..", "a.W10.c"] {
            assert_eq!(claims(&Token::new(text.to_owned())), None, "{text}");
        }
        // {"oid":"o","appid":"a","tid":"t","extra":[1]}
        let text = "e30.eyJvaWQiOiJvIiwiYXBwaWQiOiJhIiwidGlkIjoidCIsImV4dHJhIjpbMV19.sig";
        let claims = claims(&Token::new(text.to_owned())).expect("claims");
        assert_eq!(
            (claims.oid.as_deref(), claims.appid.as_deref(), claims.tid.as_deref()),
            (Some("o"), Some("a"), Some("t"))
        );
        assert_eq!(claims.upn, None);
    }

    #[test]
    fn an_identity_is_told_by_what_its_token_says() {
        let claims = Claims {
            oid: Some("o-1".into()),
            appid: Some("a-1".into()),
            tid: Some("t\u{1b}1".into()),
            ..Claims::default()
        };
        assert_eq!(claims.to_string(), "application a-1, object id o-1, tenant t1");
        let person = Claims { unique_name: Some("joe@contoso.com".into()), ..Claims::default() };
        assert_eq!(person.to_string(), "user joe@contoso.com");
    }
}
