//! What set and update do, and what they leave alone.

use std::time::Duration;

use akvfs::clock::unix_seconds;
use akvfs::secret::{MAX_VALUE, SecretAttributes, Tags, Timestamp};
use akvfs::store::{ErrorKind, StoreError};

use crate::suite::{Subject, clauses, everything, given, kind, nothing, spelled, tags, version};
use crate::support::{name, value};

clauses![
    a_set_answers_with_the_new_version,
    a_set_makes_exactly_one_version,
    a_set_inherits_nothing,
    a_set_keeps_all_it_is_given,
    a_set_leaves_older_versions_alone,
    tags_of_nothing_are_not_absent_tags,
    dates_may_lie_anywhere,
    dates_do_not_forbid_reading,
    a_value_may_have_25600_bytes,
    a_larger_value_is_invalid,
    too_many_tags_are_invalid,
    a_long_content_type_is_invalid,
    an_update_changes_what_it_is_given,
    an_update_leaves_what_it_is_not_given,
    an_update_of_nothing_changes_nothing,
    an_update_replaces_all_tags,
    an_update_can_clear_tags,
    an_update_makes_no_version,
    an_update_is_of_one_version,
    an_invalid_update_changes_nothing,
    what_is_disabled_cannot_be_got,
    a_disabled_version_hides_no_other,
    what_is_disabled_can_be_enabled_again,
    what_is_disabled_is_found_and_listed,
    what_a_certificate_owns_is_left_alone,
    versions_are_dated_by_the_second,
    an_update_moves_one_date,
];

fn disabled() -> SecretAttributes {
    SecretAttributes { enabled: Some(false), ..nothing() }
}

fn a_set_answers_with_the_new_version(on: &Subject) {
    let set = on.set_with("a", "x", &everything());
    assert_eq!((set.name.as_str(), given(&set)), ("a", everything()));
    assert_eq!(set.id, format!("{}/secrets/a/{}", set.vault_url, version(&set)));
    assert_eq!(set, on.get("a").properties);
}

fn a_set_makes_exactly_one_version(on: &Subject) {
    let mut made: Vec<_> = ["same", "same", "other"].map(|text| version(&on.set("a", text))).into();
    made.sort();
    let listed: Vec<_> = on.list_versions("a").iter().map(version).collect();
    assert_eq!(listed, made);
}

fn a_set_inherits_nothing(on: &Subject) {
    on.set_with("a", "x", &everything());
    let set = on.set("a", "y");
    let bare = SecretAttributes { enabled: Some(true), ..nothing() };
    assert_eq!(given(&set), bare);
    assert_eq!(given(&on.get("a").properties), bare);
    on.set_with("b", "x", &disabled());
    on.set("b", "y");
    assert_eq!(on.get("b").value.expose(), "y");
}

fn a_set_keeps_all_it_is_given(on: &Subject) {
    on.set_with("a", "x", &everything());
    assert_eq!(given(&on.get("a").properties), everything());
    assert_eq!(given(&on.list()[0]), everything());
    assert_eq!(given(&on.list_versions("a")[0]), everything());
}

fn a_set_leaves_older_versions_alone(on: &Subject) {
    let old = version(&on.set_with("a", "old", &everything()));
    let before = on.get_version("a", &old);
    on.set("a", "new");
    assert_eq!(on.get_version("a", &old), before);
}

fn tags_of_nothing_are_not_absent_tags(on: &Subject) {
    on.set_with("empty", "x", &SecretAttributes { tags: Some(Tags::new()), ..nothing() });
    on.set("none", "x");
    assert_eq!(on.get("empty").properties.tags, Some(Tags::new()));
    assert_eq!(on.get("none").properties.tags, None);
    let listed: Vec<_> = on.list().into_iter().map(|item| item.tags).collect();
    assert_eq!(listed, [Some(Tags::new()), None]);
}

fn dates_may_lie_anywhere(on: &Subject) {
    // 1969, the epoch, both sides of 2038-01-19, the years 2050 and 3000, and 2050 as a wrapped 32-bit number.
    for seconds in [-1, 0, 2_147_483_647, 2_147_483_648, 2_527_401_600, 32_503_680_000, -1_767_565_696] {
        let date = Some(Timestamp(seconds));
        let dates = SecretAttributes { not_before: date, expires_on: date, enabled: Some(true), ..nothing() };
        on.set_with("a", "x", &dates);
        assert_eq!(given(&on.get("a").properties), dates);
        on.set("b", "x");
        on.update("b", &dates);
        assert_eq!(given(&on.get("b").properties), dates);
        assert_eq!(given(&on.list()[0]), dates);
    }
}

fn dates_do_not_forbid_reading(on: &Subject) {
    on.set_with("old", "x", &SecretAttributes { expires_on: Some(Timestamp(1)), ..nothing() });
    on.set_with("new", "y", &SecretAttributes { not_before: Some(Timestamp(32_503_680_000)), ..nothing() });
    assert_eq!((on.get("old").value.expose(), on.get("new").value.expose()), ("x", "y"));
}

fn a_value_may_have_25600_bytes(on: &Subject) {
    for text in ["x".repeat(MAX_VALUE), "ä".repeat(MAX_VALUE / 2), "\u{1f511}".repeat(MAX_VALUE / 4)] {
        on.set("a", &text);
        assert!(on.get("a").value.expose() == text, "the largest value changed on its way");
    }
}

fn set_outcome(on: &Subject, text: &str, attributes: &SecretAttributes) -> Result<(), StoreError> {
    on.store.set(&name("a"), &value(text), attributes, on.wait()).map(|_| ())
}

fn a_larger_value_is_invalid(on: &Subject) {
    let before = on.set("a", "x");
    for text in ["x".repeat(MAX_VALUE + 1), "ä".repeat(MAX_VALUE / 2 + 1)] {
        assert_eq!(kind(set_outcome(on, &text, &nothing())), ErrorKind::Invalid);
    }
    assert_eq!(on.list_versions("a").len(), 1);
    assert_eq!(version(&on.get("a").properties), version(&before));
}

fn numbered_tags(count: usize) -> SecretAttributes {
    let tags = (0..count).map(|number| (format!("tag{number}"), number.to_string())).collect();
    SecretAttributes { tags: Some(tags), ..nothing() }
}

fn too_many_tags_are_invalid(on: &Subject) {
    on.set_with("a", "x", &numbered_tags(15));
    assert_eq!(on.get("a").properties.tags, numbered_tags(15).tags);
    assert_eq!(kind(set_outcome(on, "y", &numbered_tags(16))), ErrorKind::Invalid);
    assert_eq!(on.get("a").value.expose(), "x");
}

fn a_long_content_type_is_invalid(on: &Subject) {
    let typed = |length| SecretAttributes { content_type: Some("t".repeat(length)), ..nothing() };
    on.set_with("a", "x", &typed(255));
    assert_eq!(kind(set_outcome(on, "y", &typed(256))), ErrorKind::Invalid);
    assert_eq!(on.get("a").properties.content_type, typed(255).content_type);
}

fn an_update_changes_what_it_is_given(on: &Subject) {
    on.set("a", "x");
    let updated = on.update("a", &everything());
    assert_eq!(given(&updated), everything());
    assert_eq!(given(&on.get("a").properties), everything());
    assert_eq!(given(&on.list()[0]), everything());
    assert_eq!(given(&on.list_versions("a")[0]), everything());
}

fn an_update_leaves_what_it_is_not_given(on: &Subject) {
    let all = everything();
    for changes in [
        SecretAttributes { not_before: Some(Timestamp(5)), ..nothing() },
        SecretAttributes { expires_on: Some(Timestamp(6)), ..nothing() },
        SecretAttributes { content_type: Some("new".to_owned()), ..nothing() },
        SecretAttributes { tags: Some(tags(&[("new", "n")])), ..nothing() },
        SecretAttributes { enabled: Some(true), ..nothing() },
    ] {
        on.set_with("a", "x", &all);
        on.update("a", &changes);
        let merged = SecretAttributes {
            enabled: changes.enabled.or(all.enabled),
            not_before: changes.not_before.or(all.not_before),
            expires_on: changes.expires_on.or(all.expires_on),
            content_type: changes.content_type.or(all.content_type.clone()),
            tags: changes.tags.or(all.tags.clone()),
        };
        let secret = on.get("a");
        assert_eq!((given(&secret.properties), secret.value.expose()), (merged, "x"));
    }
}

fn an_update_of_nothing_changes_nothing(on: &Subject) {
    on.set_with("a", "x", &everything());
    assert_eq!(given(&on.update("a", &nothing())), everything());
    assert_eq!(given(&on.get("a").properties), everything());
}

fn an_update_replaces_all_tags(on: &Subject) {
    on.set_with("a", "x", &everything());
    let new = SecretAttributes { tags: Some(tags(&[("team", "red")])), ..nothing() };
    on.update("a", &new);
    assert_eq!(on.get("a").properties.tags, new.tags);
}

fn an_update_can_clear_tags(on: &Subject) {
    on.set_with("a", "x", &everything());
    on.update("a", &SecretAttributes { tags: Some(Tags::new()), ..nothing() });
    assert_eq!(on.get("a").properties.tags, Some(Tags::new()));
    on.update("a", &SecretAttributes { content_type: Some("t".to_owned()), ..nothing() });
    assert_eq!(on.get("a").properties.tags, Some(Tags::new()));
}

fn an_update_makes_no_version(on: &Subject) {
    let set = version(&on.set("a", "x"));
    let updated = version(&on.update("a", &everything()));
    let listed: Vec<_> = on.list_versions("a").iter().map(version).collect();
    assert_eq!((&updated, listed), (&set, vec![set.clone()]));
    assert_eq!(on.get("a").value.expose(), "x");
}

fn an_update_is_of_one_version(on: &Subject) {
    let old = version(&on.set("a", "old"));
    let new = on.set("a", "new");
    let updated = on.store.update(&name("a"), Some(&old), &everything(), on.wait()).expect("update of a version");
    assert_eq!(version(&updated), old);
    assert_eq!(given(&on.get_version("a", &old).properties), everything());
    assert_eq!(on.get("a").properties, new);
    on.update("a", &SecretAttributes { content_type: Some("of the current".to_owned()), ..nothing() });
    assert_eq!(given(&on.get_version("a", &old).properties), everything());
}

fn an_invalid_update_changes_nothing(on: &Subject) {
    on.set_with("a", "x", &everything());
    let before = on.get("a");
    let wrong = SecretAttributes { content_type: Some("new".to_owned()), ..numbered_tags(16) };
    assert_eq!(kind(on.store.update(&name("a"), None, &wrong, on.wait())), ErrorKind::Invalid);
    assert_eq!(on.get("a"), before);
}

fn what_is_disabled_cannot_be_got(on: &Subject) {
    on.set("a", "old");
    let set = on.set_with("a", "new", &disabled());
    assert_eq!(set.enabled, Some(false));
    assert_eq!(on.get_kind("a"), ErrorKind::Disabled, "no older version stands in");
    assert_eq!(kind(on.store.get(&name("a"), Some(&version(&set)), on.wait())), ErrorKind::Disabled);
    on.set("b", "x");
    assert_eq!(on.get("b").value.expose(), "x");
    on.update("b", &disabled());
    assert_eq!(on.get_kind("b"), ErrorKind::Disabled);
}

fn a_disabled_version_hides_no_other(on: &Subject) {
    let old = version(&on.set_with("a", "old", &disabled()));
    on.set("a", "new");
    assert_eq!(kind(on.store.get(&name("a"), Some(&old), on.wait())), ErrorKind::Disabled);
    assert_eq!(on.get("a").value.expose(), "new");
}

fn what_is_disabled_can_be_enabled_again(on: &Subject) {
    on.set_with("a", "x", &SecretAttributes { enabled: Some(false), ..everything() });
    on.update("a", &SecretAttributes { enabled: Some(true), ..nothing() });
    let secret = on.get("a");
    assert_eq!((secret.value.expose(), given(&secret.properties)), ("x", everything()));
}

fn what_is_disabled_is_found_and_listed(on: &Subject) {
    on.set("a", "x");
    on.set_with("b", "x", &disabled());
    assert!(on.store.find(&name("b"), on.wait()).expect("it is there").properties.is_disabled());
    let listed = on.list();
    assert_eq!(spelled(&listed), ["a", "b"]);
    assert!(listed[1].is_disabled() && on.list_versions("b")[0].is_disabled());
}

fn what_a_certificate_owns_is_left_alone(on: &Subject) {
    let Some(plant) = &on.plant_managed else { return };
    plant(&name("a"), &value("pem"));
    assert_eq!(kind(set_outcome(on, "x", &nothing())), ErrorKind::Managed);
    assert_eq!(kind(on.store.delete(&name("a"), on.wait())), ErrorKind::Managed);
    let secret = on.get("a");
    assert!(secret.properties.is_managed() && secret.properties.key_id.is_some());
    assert_eq!(secret.value.expose(), "pem");
    assert!(on.list()[0].is_managed());
}

fn versions_are_dated_by_the_second(on: &Subject) {
    let Some(clock) = &on.dates else { return };
    clock.advance(Duration::from_millis(1_900));
    let set = on.set("a", "x");
    let now = Some(Timestamp(unix_seconds(&**clock)));
    assert_eq!((set.created_on, set.updated_on), (now, now));
    clock.advance(Duration::from_secs(100));
    assert_eq!(on.get("a").properties, set);
    assert!(on.set("a", "y").created_on > set.created_on);
}

fn an_update_moves_one_date(on: &Subject) {
    let set = on.set("a", "x");
    if let Some(clock) = &on.dates {
        clock.advance(Duration::from_secs(100));
    }
    let updated = on.update("a", &everything());
    assert_eq!(updated.created_on, set.created_on);
    let later =
        if on.dates.is_some() { updated.updated_on > set.updated_on } else { updated.updated_on >= set.updated_on };
    assert!(later);
    assert_eq!(on.get("a").properties.updated_on, updated.updated_on);
}
