//! The vault's 401, against a scripted server: what is believed, what is remembered, and that it never becomes a loop.

mod client_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use akvfs::secret::SecretAttributes;
use akvfs::store::{ErrorKind, Wait};
use akvfs::vault::{AuthError, ClientError, ClientOptions, SecretClient, Token, TokenSource};
use client_support::*;

/// Gives `TENANT 1`, and after each refusal the next.
#[derive(Default)]
struct Numbered {
    refused: AtomicUsize,
    asked: Mutex<Vec<String>>,
}

impl Numbered {
    fn scopes(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl TokenSource for Numbered {
    fn token(&self, scope: &str, tenant: Option<&str>, _wait: Wait) -> Result<Token, AuthError> {
        self.asked.lock().expect("no panic").push(scope.to_owned());
        let number = self.refused.load(Ordering::SeqCst) + 1;
        Ok(Token::new(format!("{} {number}", tenant.unwrap_or("nobody"))))
    }

    fn forget(&self, _scope: &str, _tenant: Option<&str>, _refused: &Token) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

fn numbered(server: &Server) -> (SecretClient, Arc<Numbered>) {
    let tokens = Arc::new(Numbered::default());
    let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
    (SecretClient::new(&server.url(), tokens.clone(), options, clock()).expect("loopback"), tokens)
}

/// The token of each request.
fn bearers(server: &Server) -> Vec<String> {
    let bearer = |seen: &Seen| seen.header("authorization").unwrap_or("Bearer none").replace("Bearer ", "");
    server.seen().iter().map(bearer).collect()
}

fn claims() -> Act {
    let claims = r#"Bearer realm="", authorization_uri="https://login.example/common/oauth2/authorize", error="insufficient_claims", claims="eyJh""#;
    reply_with(401, "WWW-Authenticate", claims)
}

fn tenant(name: &str) -> Act {
    let value = format!(r#"Bearer authorization="https://login.example/{name}", resource="https://vault.azure.net""#);
    reply_with(401, "WWW-Authenticate", &value)
}

#[test]
fn a_foreign_challenge_gets_no_token_and_leaves_no_state() {
    let server = Server::play(vec![
        challenge_for("https://evil.example"),
        challenge_for("https://localhost"),
        bundle(VERSION, "x", 0),
    ]);
    let url = format!("http://akv.localhost:{}", server.port);
    let Ok(client) = client(&url, ClientOptions::default()) else { panic!("loopback") };
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Foreign);
    assert_eq!(client.get_secret(&db(), None).expect("as if it had never come").value.expose(), "x");
    assert_eq!(server.seen()[1].header("authorization"), None);
    server.is_done();
}

#[test]
fn a_foreign_challenge_on_a_bare_address_is_refused() {
    let server = Server::play(vec![challenge(), challenge()]);
    let client = client(&server.url(), ClientOptions::default()).expect("loopback");
    for _ in 0..2 {
        assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Foreign);
    }
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn the_check_is_not_switched_off_for_a_vault_elsewhere() {
    let options = ClientOptions { verify_challenge_resource: false, ..ClientOptions::default() };
    assert!(matches!(client("contoso", options), Err(ClientError::Unverified(_))));
    assert!(matches!(client("http://contoso.example", ClientOptions::default()), Err(ClientError::Url(_))));
}

#[test]
fn a_challenge_that_changed_is_taken_over_and_a_refused_token_ends_it() {
    let server = Server::vault(vec![challenge_for("https://vault.azure.cn"), bundle(VERSION, "x", 0)]);
    let client = server.client();
    // The same token cannot help: what changes here is only the challenge.
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Authentication);
    assert_eq!(client.get_secret(&db(), None).expect("get").value.expose(), "x");
    let server = Server::vault(vec![challenge()]);
    assert_eq!(kind(server.client().get_secret(&db(), None)), ErrorKind::Authentication);
    server.is_done();
}

#[test]
fn a_token_that_is_refused_is_replaced_once() {
    for refusal in [challenge, claims] {
        let server =
            Server::vault(vec![bundle(VERSION, "x", 0), refusal(), bundle(VERSION, "x", 0), refusal(), refusal()]);
        let (client, tokens) = numbered(&server);
        client.get_secret(&db(), None).expect("got");
        client.get_secret(&db(), None).expect("an expired token costs a round trip and no error");
        assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Authentication, "never a loop");
        let used = ["none", "tenant 1", "tenant 1", "tenant 2", "tenant 2", "tenant 3"];
        assert_eq!(bearers(&server), used);
        assert!(tokens.scopes().iter().all(|scope| scope == "https://vault.azure.net/.default"));
        server.is_done();
    }
}

#[test]
fn a_claims_challenge_right_after_the_first_one_is_met_once() {
    let server = Server::vault(vec![claims(), bundle(VERSION, "x", 0)]);
    let (client, _) = numbered(&server);
    client.get_secret(&db(), None).expect("the second token was good");
    assert_eq!(bearers(&server), ["none", "tenant 1", "tenant 2"]);
    server.is_done();
}

#[test]
fn claims_that_no_token_meets_are_an_error_with_the_reason_and_no_loop() {
    let revoked = r#"Bearer authorization="https://login.windows-ppe.net/", error="invalid_token", error_description="User session has been revoked", claims="eyJh""#;
    let server = Server::decide(move |seen| match seen.header("authorization") {
        None => challenge(),
        Some(_) => reply_with(401, "WWW-Authenticate", revoked),
    });
    let (client, _) = numbered(&server);
    let error = client.get_secret(&db(), None).expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Authentication);
    assert!(error.to_string().contains("User session has been revoked"), "{error}");
    assert!(error.to_string().contains("sign in again"), "{error}");
    assert_eq!(bearers(&server), ["none", "tenant 1", "tenant 2"]);
    assert_eq!(kind(client.set_secret(&db(), &value("x"), &SecretAttributes::default())), ErrorKind::Authentication);
    assert_eq!(server.seen().len(), 5, "nor a look at what a refused change may have done");
}

#[test]
fn a_claims_challenge_for_a_client_without_a_token_is_no_challenge() {
    let server = Server::play(vec![claims(), challenge(), bundle(VERSION, "x", 0)]);
    let (client, tokens) = numbered(&server);
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Broken);
    assert!(tokens.scopes().is_empty(), "nobody knows what to ask for");
    client.get_secret(&db(), None).expect("as if it had never come");
    server.is_done();
}

#[test]
fn a_vault_that_moved_to_another_tenant_is_followed() {
    let moved = vec![bundle(VERSION, "x", 0), tenant("new"), bundle(VERSION, "x", 0), bundle(VERSION, "x", 0)];
    let server = Server::vault(moved);
    let (client, _) = numbered(&server);
    for _ in 0..3 {
        client.get_secret(&db(), None).expect("got");
    }
    assert_eq!(bearers(&server), ["none", "tenant 1", "tenant 1", "new 1", "new 1"], "and remembered");
    server.is_done();
}

#[test]
fn a_challenge_that_is_another_one_each_time_costs_two_requests_a_call_and_no_more() {
    let count = AtomicUsize::new(0);
    let server = Server::decide(move |_| tenant(&format!("t{}", count.fetch_add(1, Ordering::SeqCst))));
    let (client, _) = numbered(&server);
    for _ in 0..3 {
        assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Authentication);
    }
    assert_eq!(bearers(&server), ["none", "t0 1", "t1 1", "t1 1", "t3 1", "t3 1", "t5 1"]);
}

#[test]
fn a_foreign_challenge_between_good_ones_changes_nothing() {
    let foreign = || challenge_for("https://evil.example");
    let good = || challenge_for("https://localhost");
    let answer = || bundle(VERSION, "x", 0);
    let server = Server::play(vec![good(), answer(), foreign(), answer(), foreign()]);
    let url = format!("http://akv.localhost:{}", server.port);
    let client = client(&url, ClientOptions::default()).expect("loopback");
    client.get_secret(&db(), None).expect("got");
    assert_eq!(kind(client.get_secret(&db(), None)), ErrorKind::Foreign);
    client.get_secret(&db(), None).expect("with the token of before, at once");
    let set = client.set_secret(&db(), &value("x"), &SecretAttributes::default());
    assert_eq!(kind(set), ErrorKind::Foreign, "and not sent again");
    assert_eq!(bearers(&server), ["none", TOKEN, TOKEN, TOKEN, TOKEN]);
    server.is_done();
}
