//! Where tokens come from. Knows scopes and tenants, and nothing of vaults or of HTTP.

mod assertion;
mod azure;
mod cache;
mod certificate;
mod settings;
mod ways;

pub use azure::{AuthKind, AuthOptions, azure_tokens};
#[cfg(fuzzing)]
pub use settings::check_credentials;
pub use settings::{Reach, local_token};

use crate::secret::SecretValue;
use crate::store::Wait;

/// A bearer token, kept like a value.
///
/// ```compile_fail,E0277
/// # use akvfs::vault::Token;
/// serde_json::to_string(&Token::new("hunter2".to_owned()));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(SecretValue);

impl Token {
    /// Takes over `text`.
    pub fn new(text: String) -> Self {
        Self(SecretValue::new(text))
    }

    /// The token. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("REDACTED")
    }
}

/// Runs a line of the shell in the place of this process, which may not run programs: `az` and `azd` are ones.
pub trait Runner: Send + Sync {
    /// Runs it, and waits for its end.
    ///
    /// # Errors
    /// If it does not run.
    fn run(&self, line: &str) -> std::io::Result<std::process::Output>;
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// What was tried, and why each failed. Holds no secret.
    #[error("cannot sign in: {0}")]
    Refused(String),
    /// Nothing answered in the time there was.
    #[error("cannot sign in: no answer in time from {0}")]
    TimedOut(String),
}

/// Gives tokens.
pub trait TokenSource: Send + Sync {
    /// A token for `scope` (`https://vault.azure.net/.default`) of `tenant`, or of the source's own one. Ends with
    /// `wait`; [`Wait::No`] gives what is in memory.
    ///
    /// # Errors
    /// If there is none.
    fn token(&self, scope: &str, tenant: Option<&str>, wait: Wait) -> Result<Token, AuthError>;

    /// The vault does not accept `refused`: the next token must be another one, where the source can help it.
    fn forget(&self, scope: &str, tenant: Option<&str>, refused: &Token);
}

/// One token for everything: that of the embedded vault, or of one that `akvfs serve` runs.
pub struct StaticToken(Token);

impl StaticToken {
    /// Takes over `text`.
    pub fn new(text: String) -> Self {
        Self(Token::new(text))
    }
}

impl TokenSource for StaticToken {
    fn token(&self, _scope: &str, _tenant: Option<&str>, _wait: Wait) -> Result<Token, AuthError> {
        Ok(self.0.clone())
    }

    /// There is no other.
    fn forget(&self, _scope: &str, _tenant: Option<&str>, _refused: &Token) {}
}
