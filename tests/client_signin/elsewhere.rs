//! An identity service that points elsewhere: what proves who we are goes to the service that was configured and to
//! nobody else.

use super::*;

#[test]
fn no_secret_follows_a_redirect() {
    let elsewhere = Server::play(vec![]);
    let place = format!("http://127.0.0.1:{}/tenant-1/oauth2/v2.0/token", elsewhere.port);
    for status in [301, 302, 303, 307, 308] {
        let authority = Authority::new(vec![reply_with(status, "Location", &place)]);
        let outcome = authority.sign_in("environment", Path::new("/bin"), &[("AZURE_CLIENT_SECRET", "s3cret")]);
        assert!(outcome.starts_with("cannot sign in: environment: "), "{status}: {outcome}");
        assert!(!outcome.contains("s3cret"), "{outcome}");
        assert!(authority.server.seen()[0].body.contains("client_secret=s3cret"), "{status}: it was asked");

        let server = Server::play(vec![reply_with(status, "Location", &place)]);
        let endpoint = format!("{}/token", server.url());
        let variables = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", "s3cret")];
        let outcome = sign_in("managed", Path::new("/bin"), &variables);
        assert!(outcome.starts_with("cannot sign in: managed identity: "), "{status}: {outcome}");
        assert_eq!(server.seen()[0].header("x-identity-header"), Some("s3cret"), "{status}: it was asked");
    }
    assert_eq!(elsewhere.connections(), 0);
}
