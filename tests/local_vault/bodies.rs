//! Success: what goes in, what comes out, to the byte.

use std::time::Duration;

use akvfs::local::ManagedSecret;
use akvfs::secret::{SecretName, SecretValue};
use serde_json::json;

use crate::support::{Local, START, members};

#[test]
fn a_set_answers_the_whole_bundle_compactly_and_in_order() {
    let local = Local::start();
    let body = json!({"value": "v\u{e4}\n", "contentType": "text/plain", "tags": {"z": "1", "a": ""},
        "attributes": {"enabled": true, "nbf": -1, "exp": 32_503_680_000_i64, "recoveryLevel": "x"}, "other": [1]});
    let answer = local.call_with("PUT", "/secrets/Web-TLS", &body).expect(200);
    let (url, version) = (local.server.url(), answer.version());
    assert_eq!(version.len(), 32);
    assert!(version.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    let expected = format!(
        r#"{{"value":"vä\n","contentType":"text/plain","id":"{url}/secrets/Web-TLS/{version}","attributes":{{"enabled":true,"nbf":-1,"exp":32503680000,"created":{START},"updated":{START},"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}},"tags":{{"z":"1","a":""}}}}"#
    );
    assert_eq!(answer.text, expected);
    assert_eq!(local.call("GET", "/secrets/web-tls/").text, expected, "names compare without case");
    assert_eq!(local.call("GET", &format!("//secrets/Web-TLS/{version}")).text, expected);
}

#[test]
fn absent_means_absent_and_empty_means_empty() {
    let local = Local::start();
    let bare = local.set("n", "");
    assert_eq!(members(&bare.json()), "value,id,attributes");
    assert_eq!(members(&bare.json()["attributes"]), "enabled,created,updated,recoveryLevel,recoverableDays");
    let tagged = local.call_with("PUT", "/secrets/n", &json!({"value": "", "tags": {}, "contentType": null}));
    assert_eq!(tagged.json()["tags"], json!({}));
    assert_eq!(members(&tagged.json()), "value,id,attributes,tags");
}

#[test]
fn every_set_is_a_new_version_that_inherits_nothing() {
    let local = Local::start();
    let old = local.call_with(
        "PUT",
        "/secrets/n",
        &json!({"value": "1", "contentType": "t", "tags": {"a": "b"}, "attributes": {"exp": 5}}),
    );
    let new = local.set("N", "1");
    assert_ne!(old.version(), new.version());
    assert_eq!(members(&new.json()), "value,id,attributes");
    assert!(new.json()["id"].as_str().expect("id").contains("/secrets/n/"), "the first spelling stays");
    assert_eq!(local.call("GET", "/secrets/n").text, new.text);
    assert_eq!(local.call("GET", &format!("/secrets/n/{}", old.version())).text, old.text);
}

#[test]
fn an_update_merges_and_replaces_tags_whole() {
    let local = Local::start();
    let body = json!({"value": "v", "contentType": "t", "tags": {"a": "1", "b": "2"}, "attributes": {"exp": 5}});
    let set = local.call_with("PUT", "/secrets/n", &body);
    local.clock.advance(Duration::from_secs(7));
    let patch = json!({"attributes": {"nbf": 3, "recoverableDays": 1}, "value": "ignored", "tags": {"c": "3"}});
    let updated = local.call_with("PATCH", "/secrets/n/", &patch).expect(200);
    assert_eq!(members(&updated.json()), "contentType,id,attributes,tags", "an update tells no value");
    assert_eq!(updated.version(), set.version());
    assert_eq!(
        updated.json()["attributes"],
        json!({"enabled": true, "nbf": 3, "exp": 5, "created": START, "updated": START + 7,
            "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90})
    );
    assert_eq!(updated.json()["tags"], json!({"c": "3"}));
    assert_eq!(local.call("GET", "/secrets/n").json()["value"], "v");
    let path = format!("/secrets/n/{}", set.version());
    assert_eq!(local.call_with("PATCH", &path, &json!({"tags": {}})).json()["tags"], json!({}));
    let typed = local.call_with("PATCH", &path, &json!({"contentType": "u"})).json();
    assert_eq!((&typed["contentType"], &typed["tags"]), (&json!("u"), &json!({})));
}

#[test]
fn dates_do_not_keep_anyone_from_reading() {
    let local = Local::start();
    for (name, attributes) in [("expired", json!({"exp": 1})), ("future", json!({"nbf": 99_999_999_999_i64}))] {
        local.call_with("PUT", &format!("/secrets/{name}"), &json!({"value": "v", "attributes": attributes}));
        local.call("GET", &format!("/secrets/{name}")).expect(200);
    }
}

#[test]
fn members_follow_the_api_version() {
    let local = Local::start();
    local.set("n", "v");
    for (version, expected) in [
        ("2015-06-01", "enabled,created,updated"),
        ("2016-10-01", "enabled,created,updated,recoveryLevel"),
        ("7.0", "enabled,created,updated,recoveryLevel"),
        ("7.1", "enabled,created,updated,recoveryLevel,recoverableDays"),
        ("7.6-preview.1", "enabled,created,updated,recoveryLevel,recoverableDays"),
        ("2025-07-01", "enabled,created,updated,recoveryLevel,recoverableDays"),
        ("2026-04-01", "enabled,created,updated,recoveryLevel,recoverableDays"),
        ("2027-01-01-preview", "enabled,created,updated,recoveryLevel,recoverableDays"),
    ] {
        let answer = local.call("GET", &format!("/secrets/n?api-version={version}")).expect(200);
        assert_eq!(members(&answer.json()["attributes"]), expected, "{version}");
    }
}

#[test]
fn a_deleted_bundle_leads_with_its_deletion() {
    let local = Local::start();
    let version = local.set("n", "v").version();
    let deleted = local.delete("N");
    let url = local.server.url();
    let expected = format!(
        r#"{{"recoveryId":"{url}/deletedsecrets/n","deletedDate":{START},"scheduledPurgeDate":{},"id":"{url}/secrets/n/{version}","attributes":{{"enabled":true,"created":{START},"updated":{START},"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}}}}"#,
        START + 7_776_000
    );
    assert_eq!(deleted.text, expected);
    assert_eq!(local.call("GET", "/deletedsecrets/n").text, expected);
    let item = &local.call("GET", "/deletedsecrets").json()["value"][0];
    assert_eq!(members(item), "recoveryId,deletedDate,scheduledPurgeDate,id,attributes");
    assert_eq!(item["id"], format!("{url}/secrets/n"), "items of lists tell no version");
    let recovered = local.call("POST", "/deletedsecrets/n/recover").expect(200);
    assert_eq!(members(&recovered.json()), "id,attributes");
    assert_eq!(recovered.version(), version);
}

#[test]
fn a_purge_answers_204_without_content_headers() {
    let local = Local::start();
    local.set("n", "v");
    local.delete("n");
    let purged = local.call("DELETE", "/deletedsecrets/n").expect(204);
    assert_eq!((purged.header("content-type"), purged.header("content-length")), (None, None));
    assert_eq!(purged.text, "");
}

#[test]
fn a_disabled_secret_answers_its_set_and_its_lists_only() {
    let local = Local::start();
    let body = json!({"value": "v", "attributes": {"enabled": false}});
    let set = local.call_with("PUT", "/secrets/n", &body).expect(200);
    assert_eq!(set.json()["value"], "v");
    assert_eq!(local.call("GET", "/secrets").json()["value"][0]["attributes"]["enabled"], false);
    assert_eq!(local.call("GET", "/secrets/n/versions").json()["value"][0]["attributes"]["enabled"], false);
    local.call_with("PATCH", "/secrets/n", &json!({"attributes": {"enabled": true}})).expect(200);
    local.call("GET", "/secrets/n").expect(200);
}

#[test]
fn a_certificates_secret_shows_its_key() {
    let local = Local::start();
    let version = local.server.add_managed(pkcs12("cert")).expect("made").to_string();
    let url = local.server.url();
    let got = local.call("GET", "/secrets/cert").expect(200);
    assert_eq!(members(&got.json()), "value,contentType,id,managed,attributes,kid");
    assert_eq!(got.json()["kid"], format!("{url}/keys/cert/{version}"));
    let item = &local.call("GET", "/secrets").json()["value"][0];
    assert_eq!(members(item), "contentType,id,managed,attributes");
}

pub fn pkcs12(name: &str) -> ManagedSecret {
    ManagedSecret {
        name: SecretName::parse(name).expect("legal"),
        content_type: "application/x-pkcs12".into(),
        value: SecretValue::new("MIIx".into()),
        not_before: 1,
        expires_on: 2,
    }
}
