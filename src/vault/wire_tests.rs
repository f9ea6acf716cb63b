//! Tests of [`super`]: the recorded shapes, and what a server should not send.

use super::*;

const ID: &str = "https://v.vault.azure.net/secrets/Web-TLS/1f03fbba793f4906bad7605c37a1be4e";

fn name(text: &str) -> SecretName {
    SecretName::parse(text).expect("legal")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_bundle_with_every_member() {
    let body = format!(
        r#"{{"value":"v\u00e4\ud83d\ude00\n","contentType":"application/x-pkcs12","id":"{ID}","managed":true,
        "attributes":{{"enabled":true,"nbf":-1,"exp":32503680000,"created":1565043671,"updated":1565043672,
        "recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}},"tags":{{"a":"b","":""}},
        "kid":"https://v.vault.azure.net/keys/k/1","previousVersion":"p","unknown":[{{}}]}}"#
    );
    let secret = secret(body.as_bytes()).expect("parses");
    assert_eq!(secret.value.expose(), "vä😀\n");
    let found = secret.properties;
    assert_eq!((found.id.as_str(), found.vault_url.as_str()), (ID, "https://v.vault.azure.net"));
    assert!(found.name.same_spelling(&name("Web-TLS")));
    assert_eq!(found.version.expect("told").as_str(), "1f03fbba793f4906bad7605c37a1be4e");
    assert_eq!((found.enabled, found.managed), (Some(true), Some(true)));
    assert_eq!((found.not_before, found.expires_on), (Some(Timestamp(-1)), Some(Timestamp(32_503_680_000))));
    assert_eq!((found.created_on, found.updated_on), (Some(Timestamp(1_565_043_671)), Some(Timestamp(1_565_043_672))));
    assert_eq!(found.content_type.as_deref(), Some("application/x-pkcs12"));
    assert_eq!(found.tags.expect("told").len(), 2);
    assert_eq!((found.recovery_level.as_deref(), found.recoverable_days), (Some("Recoverable+Purgeable"), Some(90)));
    assert_eq!(found.key_id.as_deref(), Some("https://v.vault.azure.net/keys/k/1"));
    assert_eq!(found.previous_version.as_deref(), Some("p"));
}

#[test]
fn what_is_absent_stays_absent() {
    let found = properties(format!(r#"{{"id":"{ID}"}}"#).as_bytes()).expect("parses");
    let bare = SecretProperties {
        id: ID.to_owned(),
        version: found.version.clone(),
        ..SecretProperties::bare(&found.vault_url, &found.name)
    };
    assert_eq!(found, bare);
    let empty = properties(format!(r#"{{"id":"{ID}","tags":{{}},"contentType":null}}"#).as_bytes()).expect("parses");
    assert_eq!((empty.tags, empty.content_type), (Some(Tags::new()), None));
    let early = properties(format!(r#"{{"id":"{ID}","attributes":{{"recoverylevel":"Purgeable"}}}}"#).as_bytes());
    assert_eq!(early.expect("parses").recovery_level.as_deref(), Some("Purgeable"));
}

#[test]
fn a_deleted_bundle() {
    let body =
        format!(r#"{{"recoveryId":"https://v/deletedsecrets/n","deletedDate":1,"scheduledPurgeDate":2,"id":"{ID}"}}"#);
    let found = deleted(body.as_bytes()).expect("parses");
    assert_eq!(found.recovery_id.as_deref(), Some("https://v/deletedsecrets/n"));
    assert_eq!((found.deleted_date, found.scheduled_purge_date), (Some(Timestamp(1)), Some(Timestamp(2))));
    assert_eq!(deleted(format!(r#"{{"id":"{ID}"}}"#).as_bytes()).expect("parses").recovery_id, None);
}

#[test]
fn pages_may_be_empty_and_leave_out_what_names_no_secret() {
    for empty in
        [r#"{"value":[],"nextLink":null}"#, r#"{"value":null,"nextLink":null}"#, r#"{"value":[],"nextLink":""}"#]
    {
        let page = page(empty.as_bytes()).expect("parses");
        assert!(page.items.is_empty() && page.next_link.is_none(), "{empty}");
    }
    let body = format!(
        r#"{{"value":[{{"id":"{ID}"}},{{"id":"https://v/secrets/a_b"}},{{}},{{"id":"https://v/secrets/../x"}}],"nextLink":"https://v/secrets?x"}}"#
    );
    let page = page(body.as_bytes()).expect("parses");
    assert_eq!((page.items.len(), page.dropped), (1, 3));
    assert_eq!(page.next_link.as_deref(), Some("https://v/secrets?x"));
    let crowd = format!(r#"{{"value":[{}{{}}]}}"#, "{},".repeat(1_000));
    assert_eq!(super::page(crowd.as_bytes()).err(), Some(WireError::TooMany));
}

#[test]
fn identifiers() {
    let version = "1f03fbba793f4906bad7605c37a1be4e";
    for (id, expected) in [
        ("https://v.vault.azure.net/secrets/n".to_owned(), Some(("n", false))),
        ("https://v.vault.azure.net:443/Secrets/n/".to_owned(), Some(("n", false))),
        (format!("https://v/SECRETS/n/{version}?x=1#y"), Some(("n", true))),
        (format!("https://v/secrets/n/{version}/more"), Some(("n", true))),
        ("http://127.0.0.1:8200/secrets/n".to_owned(), Some(("n", false))),
        ("https://v/secrets/n/latest".to_owned(), None),
        ("https://v/secrets/".to_owned(), None),
        ("https://v/secrets".to_owned(), None),
        ("https://v/keys/n".to_owned(), None),
        ("https://v/secrets/a%2Fb".to_owned(), None),
        ("https://v/secrets/..%2f..%2fetc".to_owned(), None),
        ("https://v//secrets/n".to_owned(), None),
        ("/secrets/n".to_owned(), None),
        ("mailto:secrets/n".to_owned(), None),
        ("other:///secrets/n".to_owned(), None),
        (String::new(), None),
    ] {
        let found = parse_id(&id).ok().map(|(_, name, version)| (name.to_string(), version.is_some()));
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version)), "{id}");
    }
    assert_eq!(parse_id("https://v:8443/secrets/n").expect("parses").0, "https://v:8443");
}

#[test]
fn errors_are_the_services_or_nobodys() {
    let full =
        br#"{"error":{"code":"Forbidden","message":"no","innererror":{"code":"SecretDisabled","innererror":null}}}"#;
    let expected =
        ServiceError { code: Some("Forbidden".into()), inner: Some("SecretDisabled".into()), message: "no".into() };
    assert_eq!(error(full), Some(expected));
    for nobody in [
        "",
        "<html>",
        "{}",
        r#"{"error":null}"#,
        r#"{"error":"x"}"#,
        r#"{"error":{}}"#,
        r#"{"error":{"code":1}}"#,
        "[]",
        "null",
    ] {
        assert_eq!(error(nobody.as_bytes()), None, "{nobody}");
    }
}

#[test]
fn nonsense_is_refused_without_a_panic_and_never_quoted() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"hunter2\"",
        "{}",
        r#"{"value":"hunter2"}"#,
        r#"{"value":1,"id":"x"}"#,
        r#"{"value":"hunter2","id":"https://v/secrets/n","attributes":{"exp":"hunter2"}}"#,
        r#"{"value":"hunter2","id":"https://v/secrets/n","attributes":{"exp":1e99}}"#,
        r#"{"value":"hunter2","id":"https://v/secrets/n","tags":{"a":1}}"#,
        r#"{"value":"\ud800","id":"https://v/secrets/n"}"#,
        r#"{"value":"hunter2","value":"hunter2","id":"https://v/secrets/n"}"#,
        r#"{"value":"hunter2","id":"https://v/secrets/n"} hunter2"#,
        "{\"value\":\"\u{0}\",\"id\":\"https://v/secrets/n\"}",
    ] {
        let error = secret(body.as_bytes()).expect_err(body);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    assert!(secret(b"{\"value\":\"\xff\",\"id\":\"https://v/secrets/n\"}").is_err());
    assert!(page(b"{}").is_err(), "an empty object is not an empty vault");
    let deep = format!("{{\"id\":\"{ID}\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(properties(deep.as_bytes()), Err(WireError::TooDeep));
    let quoted = format!("{{\"id\":\"{ID}\",\"x\":\"\\\"{}\"}}", "[".repeat(100));
    assert!(properties(quoted.as_bytes()).is_ok(), "brackets in text are no depth");
}

#[test]
fn bodies_say_what_is_given_and_nothing_else() {
    let value = SecretValue::new("a\"\n\u{1}ä".into());
    let none = SecretAttributes::default();
    assert_eq!(text(&set_body(&value, &none)), "{\"value\":\"a\\\"\\n\\u0001ä\"}");
    assert_eq!(text(&update_body(&none)), "{}");
    let all = SecretAttributes {
        enabled: Some(false),
        not_before: Some(Timestamp(0)),
        expires_on: Some(Timestamp(32_503_680_000)),
        content_type: Some(String::new()),
        tags: Some(Tags::from([("k".into(), "v".into())])),
    };
    let expected = r#""contentType":"","attributes":{"enabled":false,"nbf":0,"exp":32503680000},"tags":{"k":"v"}}"#;
    assert_eq!(text(&update_body(&all)), format!("{{{expected}"));
    assert_eq!(text(&set_body(&SecretValue::new(String::new()), &all)), format!("{{\"value\":\"\",{expected}"));
    let tags = SecretAttributes { tags: Some(Tags::new()), ..SecretAttributes::default() };
    assert_eq!(text(&update_body(&tags)), r#"{"tags":{}}"#);
    let body = set_body(&value, &all);
    assert_eq!(body.len(), body.capacity(), "grown buffers leave copies behind");
}

#[test]
fn a_backup_is_its_bytes_and_goes_back_as_it_came() {
    let blob = backup(br#"{"value":"KUF6dXJl-_8"}"#).expect("parses");
    assert_eq!(blob.expose(), b"\x29Azure\xfb\xff");
    assert_eq!(text(&restore_body(&blob)), r#"{"value":"KUF6dXJl-_8"}"#);
    assert!(backup(br#"{"value":"KUF6dXJl-_8="}"#).is_ok(), "padding is passed over");
    for wrong in [r#"{"value":"a+b/"}"#, r#"{"value":"a b"}"#, r#"{"value":null}"#, "{}"] {
        assert!(backup(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_secret_has_few_tags() {
    let body = |count: usize| {
        let tags: Vec<_> = (0..count).map(|tag| format!(r#""{tag}":"""#)).collect();
        format!(r#"{{"id":"{ID}","tags":{{{}}}}}"#, tags.join(","))
    };
    assert_eq!(properties(body(100).as_bytes()).expect("fits").tags.expect("told").len(), 100);
    assert_eq!(properties(body(101).as_bytes()), Err(WireError::TooMany));
    assert_eq!(properties(format!(r#"{{"id":"{ID}","tags":null}}"#).as_bytes()).expect("parses").tags, None);
    assert!(matches!(properties(format!(r#"{{"id":"{ID}","tags":[]}}"#).as_bytes()), Err(WireError::Json(..))));
}

#[test]
fn an_identifier_is_what_stands_there() {
    for changed in
        ["https://v/secrets/a\nb", "https://v/secrets/a\tb", " https://v/secrets/a", "https://v/secrets/a\u{2028}"]
    {
        assert_eq!(parse_id(changed), Err(WireError::Member("id")), "{changed:?}");
    }
}
