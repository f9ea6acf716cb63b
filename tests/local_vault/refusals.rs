//! Every refusal: status, code, inner code and text.

use akvfs::local::{RecoveryLevel, ServeOptions};
use serde_json::{Value, json};

use crate::bodies::pkcs12;
use crate::support::{Answer, Local};

const LONG_TAIL: &str = " was not found in this key vault. If you recently deleted this secret you may be able to \
    recover it using the correct recovery command. For help resolving this issue, please see \
    https://go.microsoft.com/fwlink/?linkid=2125182";

fn long(what: &str) -> String {
    format!("A secret with (name/id) {what}{LONG_TAIL}")
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str, inner: &str, message: &str) {
    let expected = (status, code.to_owned(), inner.to_owned(), message.to_owned());
    assert_eq!(answer.error(), expected);
}

#[test]
fn what_is_not_there_is_404_with_the_name_as_sent() {
    let local = Local::start();
    local.set("n", "v");
    let none = "0".repeat(32);
    for (method, path, what) in [
        ("GET", "/secrets/No/", "No".to_owned()),
        ("DELETE", "/secrets/No", "No".to_owned()),
        ("POST", "/secrets/No/backup", "No".to_owned()),
        ("POST", "/deletedsecrets/No/recover", "No".to_owned()),
        ("DELETE", "/deletedsecrets/No", "No".to_owned()),
        ("GET", &format!("/secrets/n/{none}"), format!("n/{none}")),
        ("GET", "/secrets/n/backup", "n/backup".to_owned()),
    ] {
        assert_refused(&local.call(method, path), 404, "SecretNotFound", "", &long(&what));
    }
    let patched = local.call_with("PATCH", "/secrets/No/", &json!({}));
    assert_refused(&patched, 404, "SecretNotFound", "", &long("No"));
    let deleted = local.call("GET", "/deletedsecrets/n");
    assert_refused(&deleted, 404, "SecretNotFound", "", "Deleted Secret not found: n");
    local.call("GET", "/secrets/No/versions").expect(200);
}

#[test]
fn disabled_is_403_on_every_get() {
    let local = Local::start();
    let version = local.call_with("PUT", "/secrets/n", &json!({"value": "v", "attributes": {"enabled": false}}));
    let text = "Operation get is not allowed on a disabled secret.";
    for path in ["/secrets/n".to_owned(), format!("/secrets/n/{}", version.version())] {
        assert_refused(&local.call("GET", &path), 403, "Forbidden", "SecretDisabled", text);
    }
    local.delete("n");
    assert_refused(&local.call("GET", "/deletedsecrets/n"), 403, "Forbidden", "SecretDisabled", text);
    assert_eq!(local.call("GET", "/deletedsecrets").json()["value"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_newest_version_is_current_though_disabled() {
    let local = Local::start();
    let old = local.set("n", "old");
    local.call_with("PUT", "/secrets/n", &json!({"value": "new", "attributes": {"enabled": false}})).expect(200);
    local.call("GET", "/secrets/n").expect(403);
    local.call("GET", &format!("/secrets/n/{}", old.version())).expect(200);
}

#[test]
fn bodies_that_cannot_be_are_400() {
    let local = Local::start();
    let line = "Property  has invalid value\r\n";
    let tags = |count: usize| (0..count).map(|n| (n.to_string(), Value::from("v"))).collect::<serde_json::Map<_, _>>();
    for (body, lines) in [
        (json!({}), 1),
        (json!({"value": null}), 1),
        (json!({"value": 5}), 1),
        (json!({"value": "x".repeat(25_601)}), 1),
        (json!({"value": "\u{e4}".repeat(12_801)}), 1),
        (json!({"value": "v", "tags": tags(16)}), 1),
        (json!({"value": "v", "tags": {"k": 5}}), 1),
        (json!({"value": "v", "tags": {"k".repeat(513): "v"}}), 1),
        (json!({"value": "v", "tags": {"k": "v".repeat(513)}}), 1),
        (json!({"value": "v", "contentType": "t".repeat(256)}), 1),
        (json!({"value": "v", "attributes": {"exp": "tomorrow"}}), 1),
        (json!({"contentType": "t".repeat(256), "tags": tags(16)}), 3),
        (json!(["v"]), 1),
        (json!("v"), 1),
    ] {
        let answer = local.call_with("PUT", "/secrets/n", &body);
        assert_refused(&answer, 400, "BadParameter", "", &line.repeat(lines));
    }
    for body in ["", "{", "{\"value\":\"\\ud800\"}", "nonsense"] {
        let answer = local.send("PUT", "/secrets/n", Some(body)).expect("an answer");
        assert_refused(&answer, 400, "BadParameter", "", line);
    }
    local.call("GET", "/secrets/n").expect(404);
    local.set("n", "v");
    let patched = local.call_with("PATCH", "/secrets/n", &json!({"tags": tags(16)}));
    assert_refused(&patched, 400, "BadParameter", "", line);
}

#[test]
fn bodies_at_the_limits_are_taken() {
    let local = Local::start();
    let tags =
        (0..15).map(|n| (format!("{n:0>512}"), Value::from("\u{e4}".repeat(512)))).collect::<serde_json::Map<_, _>>();
    for value in ["x".repeat(25_600), "\u{e4}".repeat(12_800), "\u{1}".repeat(25_600)] {
        let body = json!({"value": value, "contentType": "t".repeat(255), "tags": tags});
        local.call_with("PUT", &format!("/secrets/{}", "n".repeat(127)), &body).expect(200);
        assert_eq!(local.call("GET", &format!("/secrets/{}", "n".repeat(127))).json()["value"], value);
    }
}

#[test]
fn names_verbs_and_parameters_that_cannot_be() {
    let local = Local::start();
    local.set("n", "v");
    let long_name = "n".repeat(128);
    for (method, path, status, code, message) in [
        ("GET", "/secrets/a_b", 400, "BadParameter", "The request URI contains an invalid name: a_b"),
        ("GET", "/secrets/a%20b/", 400, "BadParameter", "The request URI contains an invalid name: a b"),
        ("DELETE", "/deletedsecrets/a.b", 400, "BadParameter", "The request URI contains an invalid name: a.b"),
        (
            "GET",
            &format!("/secrets/{long_name}"),
            400,
            "BadParameter",
            &format!("The request URI contains an invalid name: {long_name}"),
        ),
        ("PUT", "/secrets/", 405, "MethodNotAllowed", "HTTP PUT not allowed"),
        ("POST", "/secrets/n", 405, "MethodNotAllowed", "HTTP POST not allowed"),
        ("DELETE", "/secrets/n/v", 405, "MethodNotAllowed", "HTTP DELETE not allowed"),
        ("GET", "/keys", 405, "MethodNotAllowed", "HTTP GET not allowed"),
        (
            "GET",
            "/secrets?api-version=banana",
            400,
            "BadParameter",
            "The specified version (banana) is not recognized. Consider using the latest supported version (2026-04-01).",
        ),
        (
            "GET",
            "/secrets?api-version=",
            400,
            "BadParameter",
            "The specified version () is not recognized. Consider using the latest supported version (2026-04-01).",
        ),
        (
            "GET",
            "/secrets/n?outContentType=application/x-pem-file&api-version=2025-07-01",
            400,
            "BadParameter",
            "The 'Unsupported' to 'PEM' transformation is not supported. Only PFX to PEM transformation is supported.",
        ),
    ] {
        assert_refused(&local.call(method, path), status, code, "", message);
    }
    for path in ["/secrets?maxresults=0", "/secrets?maxresults=26", "/secrets?maxresults=x", "/secrets?$skiptoken=x"] {
        assert_eq!(local.call("GET", path).expect(400).error().1, "BadParameter", "{path}");
    }
    local.call("GET", "/secrets/n?outContentType=application/x-pem-file&api-version=7.4").expect(200);
}

#[test]
fn a_certificates_secret_is_not_changed_by_hand() {
    let local = Local::start();
    local.server.add_managed(pkcs12("cert")).expect("made");
    let owned =
        |verb: &str| format!("Operation \"{verb}\" is not allowed as this object's lifetime is managed by Key Vault.");
    let inner = "SecretManagedByKeyVault";
    let set = local.call_with("PUT", "/secrets/cert", &json!({"value": "v"}));
    assert_refused(&set, 403, "Forbidden", inner, &owned("set"));
    let update = local.call_with("PATCH", "/secrets/cert", &json!({"tags": {}}));
    assert_refused(&update, 403, "Forbidden", inner, &owned("update"));
    let deleted = local.call("DELETE", "/secrets/cert").expect(403).error();
    assert_eq!(deleted.2, inner);
    assert!(deleted.3.starts_with("Operation \"delete\" is not allowed on this secret, since it is associated with"));
}

#[test]
fn purge_protection_refuses_a_purge() {
    let local = Local::with(ServeOptions { purge_protection: true, retention_days: Some(7), ..Default::default() });
    local.set("n", "v");
    let deleted = local.delete("n").json();
    assert_eq!(deleted["attributes"]["recoveryLevel"], "CustomizedRecoverable");
    assert_eq!(deleted["attributes"]["recoverableDays"], 7);
    let dates = |member: &str| deleted[member].as_i64().expect("a date");
    assert_eq!(dates("scheduledPurgeDate") - dates("deletedDate"), 604_800);
    let message = "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault \
        service will automatically purge it after the retention period has passed.\r\nVault: 127;location=local";
    assert_refused(&local.call("DELETE", "/deletedsecrets/n"), 403, "Forbidden", "", message);
    local.call("POST", "/deletedsecrets/n/recover").expect(200);
    local.call("GET", "/secrets/n").expect(200);
}

#[test]
fn without_soft_delete_deletion_is_final() {
    let local = Local::with(ServeOptions { recovery_level: Some(RecoveryLevel::Purgeable), ..Default::default() });
    local.set("n", "v");
    let deleted = local.delete("n").json();
    assert_eq!(deleted.get("recoveryId"), None);
    assert_eq!(deleted["attributes"]["recoveryLevel"], "Purgeable");
    assert_eq!(deleted["attributes"]["recoverableDays"], 0);
    local.call("GET", "/deletedsecrets/n").expect(404);
    local.set("n", "again");
}
