//! What get and find say, and how names, spellings and errors hold.

use akvfs::secret::{SecretName, Version};
use akvfs::store::{ErrorKind, Operation, StoreError};

use crate::suite::{Subject, clauses, everything, given, kind, nothing, spelled, version};
use crate::support::{name, value};

clauses![
    a_value_comes_back_as_it_was_set,
    the_empty_value_is_a_value,
    the_current_version_is_the_newest,
    a_version_is_found_by_its_number,
    a_read_may_be_called_any_number_of_times,
    what_is_not_there_is_not_found,
    an_unknown_version_is_not_found,
    a_version_belongs_to_one_secret,
    names_compare_without_case,
    answers_carry_the_vaults_spelling,
    another_spelling_is_the_same_secret,
    any_legal_name_is_a_secrets_name,
    find_tells_what_a_listing_tells,
    find_tells_the_vaults_spelling,
    find_says_not_found,
    find_follows_a_change,
    an_error_says_what_was_done_to_which_name,
    no_error_holds_a_value,
    no_answer_prints_a_value,
];

fn a_value_comes_back_as_it_was_set(on: &Subject) {
    for text in ["x", " ", "\n", "a\r\nb\t\u{0}\u{1f}\u{7f}", "\"\\/<>&%25+", "grüße 密码 \u{1f511} e\u{301}\u{fffd}"]
    {
        on.set("a", text);
        assert_eq!(on.get("a").value.expose(), text);
    }
}

fn the_empty_value_is_a_value(on: &Subject) {
    on.set("a", "x");
    on.set("a", "");
    assert!(on.get("a").value.is_empty());
}

fn the_current_version_is_the_newest(on: &Subject) {
    for text in ["one", "two", "three", "four"] {
        let set = on.set("a", text);
        let secret = on.get("a");
        assert_eq!((secret.value.expose(), version(&secret.properties)), (text, version(&set)));
    }
}

fn a_version_is_found_by_its_number(on: &Subject) {
    let old = version(&on.set_with("a", "old", &everything()));
    let new = version(&on.set("a", "new"));
    let (first, second) = (on.get_version("a", &old), on.get_version("a", &new));
    assert_eq!((first.value.expose(), version(&first.properties)), ("old", old));
    assert_eq!((second.value.expose(), version(&second.properties)), ("new", new));
    assert_eq!(given(&first.properties), everything());
}

fn a_read_may_be_called_any_number_of_times(on: &Subject) {
    let old = version(&on.set("a", "old"));
    on.set_with("a", "new", &everything());
    assert_eq!(on.get("a"), on.get("a"));
    assert_eq!(on.get_version("a", &old), on.get_version("a", &old));
    assert_eq!(on.list(), on.list());
    assert_eq!(on.list_versions("a"), on.list_versions("a"));
}

/// Of `missing`, every operation that takes a name.
fn refusals(on: &Subject, missing: &SecretName) -> Vec<StoreError> {
    let (store, wait) = (&on.store, || on.wait());
    let outcomes = [
        store.get(missing, None, wait()).err(),
        store.find(missing, wait()).err(),
        store.update(missing, None, &everything(), wait()).err(),
        store.delete(missing, wait()).err(),
        store.get_deleted(missing, wait()).err(),
        store.recover(missing, wait()).err(),
        store.purge(missing, wait()).err(),
        store.backup(missing, wait()).err(),
    ];
    outcomes.into_iter().map(|error| error.expect("nothing is there")).collect()
}

fn what_is_not_there_is_not_found(on: &Subject) {
    on.set("there", "x");
    for error in refusals(on, &name("missing")) {
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        assert!(!error.is_no_answer());
    }
    assert_eq!(spelled(&on.list()), ["there"]);
}

fn an_unknown_version_is_not_found(on: &Subject) {
    on.set("a", "x");
    let unknown = Version::parse(&"0".repeat(32)).expect("legal");
    assert_eq!(kind(on.store.get(&name("a"), Some(&unknown), on.wait())), ErrorKind::NotFound);
    assert_eq!(kind(on.store.update(&name("a"), Some(&unknown), &everything(), on.wait())), ErrorKind::NotFound);
    assert_eq!(given(&on.get("a").properties).content_type, None);
}

fn a_version_belongs_to_one_secret(on: &Subject) {
    on.set("a", "x");
    let others = version(&on.set("b", "y"));
    assert_eq!(kind(on.store.get(&name("a"), Some(&others), on.wait())), ErrorKind::NotFound);
}

fn names_compare_without_case(on: &Subject) {
    let (set, other) = (on.set("Web-Tls", "x"), name("wEB-tLS"));
    assert_eq!(on.get("WEB-TLS").value.expose(), "x");
    assert_eq!(on.get_version("web-tls", &version(&set)).value.expose(), "x");
    assert!(on.store.find(&other, on.wait()).is_ok());
    assert_eq!(on.list_versions("web-TLS").len(), 1);
    on.update("WEB-TLS", &everything());
    assert_eq!(given(&on.get("Web-Tls").properties), everything());
    on.delete("web-tls");
    assert!(on.store.get_deleted(&other, on.wait()).is_ok());
    on.recover("WEB-tls");
    on.delete("Web-Tls");
    on.purge("web-TLS");
    assert_eq!(on.get_kind("Web-Tls"), ErrorKind::NotFound);
}

fn answers_carry_the_vaults_spelling(on: &Subject) {
    let set = on.set("Web-Tls", "x");
    let blob = on.backup("WEB-TLS");
    let mut answers = vec![set, on.update("web-tls", &everything()), on.get("web-tls").properties];
    answers.extend(on.list());
    answers.extend(on.list_versions("web-tls"));
    answers.push(on.delete("web-tls").properties);
    answers.push(on.store.get_deleted(&name("web-tls"), on.wait()).expect("it is deleted").properties);
    answers.extend(on.list_deleted().into_iter().map(|item| item.properties));
    answers.push(on.recover("web-tls"));
    on.delete("web-tls");
    on.purge("web-tls");
    answers.push(on.restore(&blob));
    for answer in answers {
        assert_eq!(answer.name.as_str(), "Web-Tls");
        assert!(answer.id.contains("/Web-Tls"), "{}", answer.id);
    }
}

fn another_spelling_is_the_same_secret(on: &Subject) {
    on.set("Alpha", "one");
    let second = on.set("ALPHA", "two");
    assert_eq!(second.name.as_str(), "Alpha");
    assert_eq!(on.get("alpha").value.expose(), "two");
    assert_eq!(on.list_versions("alpha").len(), 2);
    assert_eq!(spelled(&on.list()), ["Alpha"]);
}

fn any_legal_name_is_a_secrets_name(on: &Subject) {
    let long = "x".repeat(127);
    let names = ["-", "--", "0", "0123456789", "backup", "deletedsecrets", "restore", "secrets", "versions", &long];
    for text in names {
        on.set(text, text);
    }
    for text in names {
        let secret = on.get(text);
        assert_eq!((secret.value.expose(), secret.properties.name.as_str()), (text, text));
        assert_eq!(on.list_versions(text).len(), 1);
    }
    assert_eq!(spelled(&on.list()), names);
}

fn find_tells_what_a_listing_tells(on: &Subject) {
    on.set("a", "old");
    let set = on.set_with("a", "new", &everything());
    let found = on.store.find(&name("a"), on.wait()).expect("it is there");
    assert_eq!(given(&found.properties), everything());
    assert_eq!(found.properties.updated_on, on.list()[0].updated_on);
    if let Some(current) = found.current {
        assert_eq!(current, version(&set));
    }
}

fn find_tells_the_vaults_spelling(on: &Subject) {
    on.set("Web-Tls", "x");
    on.set_with("Off", "x", &akvfs::secret::SecretAttributes { enabled: Some(false), ..nothing() });
    for (asked, told) in [("web-tls", "Web-Tls"), ("OFF", "Off")] {
        let found = on.store.find(&name(asked), on.wait()).expect("it is there");
        assert_eq!(found.properties.name.as_str(), told);
    }
}

fn find_says_not_found(on: &Subject) {
    on.set("a", "x");
    assert_eq!(kind(on.store.find(&name("ab"), on.wait())), ErrorKind::NotFound);
    on.delete("a");
    assert_eq!(kind(on.store.find(&name("a"), on.wait())), ErrorKind::NotFound);
}

fn find_follows_a_change(on: &Subject) {
    assert_eq!(kind(on.store.find(&name("a"), on.wait())), ErrorKind::NotFound);
    on.set("a", "x");
    on.update("a", &everything());
    let found = on.store.find(&name("a"), on.wait()).expect("it is there now");
    assert_eq!(given(&found.properties), everything());
}

fn an_error_says_what_was_done_to_which_name(on: &Subject) {
    let missing = name("missing");
    let done: Vec<Operation> = refusals(on, &missing).iter().map(|error| error.operation).collect();
    use Operation::{Backup, Delete, Find, Get, GetDeleted, Purge, Recover, Update};
    assert_eq!(done, [Get, Find, Update, Delete, GetDeleted, Recover, Purge, Backup]);
    for error in refusals(on, &missing) {
        assert_eq!(error.name.as_ref(), Some(&missing), "{error}");
        assert!(error.to_string().contains("missing"), "{error}");
    }
}

const CANARY: &str = "canary-5fd1";

fn no_error_holds_a_value(on: &Subject) {
    let set = |secret: &str, text: &str| {
        on.store.set(&name(secret), &value(text), &nothing(), on.wait()).expect_err("this is refused")
    };
    on.set("gone", CANARY);
    on.delete("gone");
    let foreign = akvfs::secret::BackupBlob::new(CANARY.as_bytes().to_vec());
    let restore = on.store.restore(&foreign, on.wait()).expect_err("no backup");
    for error in [set("gone", CANARY), set("big", &CANARY.repeat(2_400)), restore] {
        assert!(!format!("{error} {error:?}").contains(CANARY));
    }
}

fn no_answer_prints_a_value(on: &Subject) {
    let set = on.set("a", CANARY);
    let found = on.store.find(&name("a"), on.wait());
    let page = on.store.list(None, on.wait());
    let printed =
        format!("{set:?} {:?} {found:?} {page:?} {:?} {:?}", on.get("a"), on.list_versions("a"), on.backup("a"));
    assert!(!printed.contains(CANARY));
    assert!(!format!("{:?} {:?}", on.delete("a"), on.list_deleted()).contains(CANARY));
}
