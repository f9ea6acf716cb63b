//! `certificate/` and keystores, as openssl, Python, curl and Java read them.

use super::super::harness::{At, World};
use super::{have, set, set_certificate};

/// A mount with one certificate in both forms that Key Vault has.
fn world() -> Option<World> {
    let world = World::new(&[], "")?;
    set_certificate(&world, "pem", "localhost");
    let pfx = std::fs::read_to_string(world.mount.aside("pfx")).unwrap();
    set(&world.vault, "pfx", &pfx, "application/x-pkcs12", &[]);
    world.bash("", r#"echo > "$M/.akvfs/refresh""#).ok();
    Some(world)
}

const FORMS: [&str; 2] = ["pem", "pfx"];

#[test]
fn openssl_reads_every_part_of_a_certificate() {
    if !have(&["openssl"]) {
        return;
    }
    let Some(world) = world() else { return };
    for secret in FORMS {
        for (script, expected) in [
            (r#"openssl x509 -in cert.pem -noout -subject"#, "subject=CN = localhost\n"),
            (r#"openssl x509 -in chain.pem -noout -subject"#, "subject=CN = authority\n"),
            (r#"openssl verify -CAfile "$T/ca.pem" -untrusted chain.pem cert.pem"#, "cert.pem: OK\n"),
            (r#"openssl rsa -in privkey.pem -check -noout"#, "RSA key ok\n"),
            (
                r#"openssl pkey -in privkey.pem -pubout | cmp - <(openssl x509 -in cert.pem -noout -pubkey) && echo same"#,
                "same\n",
            ),
            (r#"openssl storeutl -noout -certs fullchain.pem | tail -1"#, "Total found: 2\n"),
            (
                r#"openssl pkcs12 -in bundle.pfx -passin pass: -nokeys -clcerts | openssl x509 -noout -subject"#,
                "subject=CN = localhost\n",
            ),
            (
                r#"openssl pkcs12 -in bundle.pfx -passin pass: -nocerts -nodes | openssl rsa -check -noout"#,
                "RSA key ok\n",
            ),
        ] {
            let ran = world.bash(secret, &format!(r#"cd "$D/certificate" && {script} 2> /dev/null"#));
            assert_eq!(ran.ok(), expected, "{secret}: {script}");
        }
    }
}

#[test]
fn python_and_curl_speak_tls_with_a_certificate_from_a_mount() {
    if !have(&["python3", "curl", "openssl"]) {
        return;
    }
    let Some(world) = world() else { return };
    let script = r#"
cd "$D/certificate" && python3 - <<'E'
import os, ssl, subprocess, threading, http.server
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=os.environ["T"] + "/ca.pem")
context.load_cert_chain("fullchain.pem", "privkey.pem")
context.verify_mode = ssl.CERT_REQUIRED
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(str(self.connection.getpeercert()["subject"]).encode())
    def log_message(self, *words): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
subprocess.run(["curl", "-sS", "--cacert", "chain.pem", "--cert", "cert.pem", "--key", "privkey.pem",
    "https://localhost:%d" % server.server_port], check=True)
E"#;
    for secret in FORMS {
        assert_eq!(world.bash(secret, script).ok(), "((('commonName', 'localhost'),),)", "{secret}");
    }
}

#[test]
fn java_reads_keystores_and_keytool_writes_them() {
    if !have(&["keytool", "javac", "openssl"]) {
        return;
    }
    let Some(world) = world() else { return };
    let read = java!(
        "var store = java.security.KeyStore.getInstance(\"PKCS12\"); char[] password = System.getenv(\"PASSWORD\").toCharArray(); \
        try (var in = Files.newInputStream(Path.of(System.getenv(\"STORE\")))) { store.load(in, password); } \
        var alias = store.aliases().nextElement(); \
        System.out.println(store.size() + \" \" + store.getKey(alias, password).getAlgorithm() + \" \" + store.getCertificateChain(alias).length)"
    );
    for secret in FORMS {
        let script = format!("export PASSWORD= STORE=\"$D/certificate/bundle.pfx\"\n{read}");
        assert_eq!(world.bash(secret, &script).ok(), "1 RSA 2\n", "{secret}");
        let listed = world.bash(
            secret,
            r#"echo | keytool -list -keystore "$D/certificate/bundle.pfx" -storetype PKCS12 2> /dev/null"#,
        );
        assert!(listed.ok().contains("contains 1 entry"), "{secret}");
    }
    let make =
        r#"keytool -genkeypair -keyalg EC -alias one -dname CN=one -storetype PKCS12 -storepass changeit -keystore "#;
    world.bash_at(At::Flat, "keystore", &format!(r#"{make} "$T/store" 2> /dev/null && cp "$T/store" "$V""#)).ok();
    let script = format!("export PASSWORD=changeit STORE=\"$V\"\n{read}");
    assert_eq!(world.bash_at(At::Flat, "keystore", &script).ok(), "1 EC 1\n");
    let another = r#"keytool -genkeypair -keyalg EC -alias two -dname CN=two -storepass changeit -keystore "$V" 2> /dev/null &&
        keytool -list -keystore "$V" -storepass changeit | grep -c PrivateKeyEntry"#;
    assert_eq!(world.bash_at(At::Flat, "keystore", another).ok(), "2\n");
    assert_eq!(world.vault.versions("keystore").len(), 2, "keytool saves once");
    assert_eq!(world.vault.tags("keystore").remove("file-encoding").as_deref(), Some("base64"));
}
