//! Order, pages and contents of the three listings.

use std::collections::BTreeSet;

use akvfs::secret::SecretAttributes;
use akvfs::store::ErrorKind;

use crate::suite::{Subject, all, clauses, everything, given, nothing, spelled, version};
use crate::support::name;

clauses![
    an_empty_vault_has_empty_listings,
    many_secrets_are_listed_once_each_in_order,
    the_order_is_of_upper_cased_names,
    a_place_in_a_listing_can_be_read_again,
    a_listing_shows_the_current_version,
    a_listing_follows_every_change,
    a_listing_may_change_while_it_is_read,
    many_versions_are_listed_once_each_in_order,
    versions_are_listed_with_what_each_has,
    a_missing_secret_has_no_versions,
    many_deleted_secrets_are_listed_once_each_in_order,
    a_deleted_item_tells_when_it_goes,
];

fn an_empty_vault_has_empty_listings(on: &Subject) {
    assert_eq!(on.list(), []);
    assert_eq!(on.list_deleted(), []);
}

/// Sixty names in an order that is not that of the listing.
fn sixty() -> Vec<String> {
    (0..60).map(|number| format!("s{:02}", number * 7 % 60)).collect()
}

fn in_order(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

fn many_secrets_are_listed_once_each_in_order(on: &Subject) {
    let names = sixty();
    for text in &names {
        on.set(text, "x");
    }
    assert_eq!(spelled(&on.list()), in_order(&names));
}

fn the_order_is_of_upper_cased_names(on: &Subject) {
    let ordered = ["-", "0", "9", "a", "A-", "a-B", "a0", "AA", "ab", "B", "c"];
    for text in ordered.iter().rev() {
        on.set(text, "x");
    }
    assert_eq!(spelled(&on.list()), ordered);
}

fn a_place_in_a_listing_can_be_read_again(on: &Subject) {
    for text in sixty() {
        on.set(&text, "x");
    }
    all(|from| {
        let page = on.store.list(from, on.wait())?;
        assert_eq!(on.store.list(from, on.wait())?.items, page.items);
        Ok(page)
    });
}

fn a_listing_shows_the_current_version(on: &Subject) {
    on.set("a", "old");
    let new = on.set_with("a", "new", &everything());
    let item = on.list().remove(0);
    assert_eq!(given(&item), everything());
    assert_eq!((item.created_on, item.updated_on), (new.created_on, new.updated_on));
    assert!(item.version.is_none_or(|told| told == version(&new)));
}

fn a_listing_follows_every_change(on: &Subject) {
    on.set("a", "x");
    on.set("b", "x");
    assert_eq!(spelled(&on.list()), ["a", "b"]);
    on.update("b", &SecretAttributes { content_type: Some("t".to_owned()), ..nothing() });
    assert_eq!(on.list()[1].content_type.as_deref(), Some("t"));
    on.delete("a");
    assert_eq!(spelled(&on.list()), ["b"]);
    on.recover("a");
    assert_eq!(spelled(&on.list()), ["a", "b"]);
    assert_eq!(on.list_deleted(), []);
}

fn a_listing_may_change_while_it_is_read(on: &Subject) {
    let names = sixty();
    for text in &names {
        on.set(text, "x");
    }
    let mut pages = 0;
    let items = all(|from| {
        pages += 1;
        if pages == 2 {
            on.set("zz-new", "x");
            on.delete("s59");
        }
        on.store.list(from, on.wait())
    });
    let listed = spelled(&items);
    assert!(listed.is_sorted_by(|one, next| one < next), "each at most once, in order: {listed:?}");
    let stayed = in_order(&names).into_iter().filter(|text| *text != "s59");
    for text in stayed {
        assert!(listed.contains(&text), "{text} was there all the time");
    }
}

fn many_versions_are_listed_once_each_in_order(on: &Subject) {
    on.set("aa", "another secret");
    let made: BTreeSet<_> = (0..60).map(|number| version(&on.set("a", &number.to_string()))).collect();
    let listed: Vec<_> = on.list_versions("a").iter().map(version).collect();
    assert_eq!(listed, made.into_iter().collect::<Vec<_>>());
}

fn versions_are_listed_with_what_each_has(on: &Subject) {
    let first = on.set_with("a", "x", &everything());
    let second = on.set("a", "y");
    let listed = on.list_versions("a");
    for set in [first, second] {
        let item = listed.iter().find(|item| item.version == set.version).expect("it is listed");
        assert_eq!((given(item), item.created_on, &item.id), (given(&set), set.created_on, &set.id));
    }
}

fn a_missing_secret_has_no_versions(on: &Subject) {
    assert_eq!(on.list_versions("a"), []);
    on.set("a", "x");
    assert_eq!(on.list_versions("b"), []);
    on.delete("a");
    assert_eq!(on.list_versions("a"), []);
}

fn many_deleted_secrets_are_listed_once_each_in_order(on: &Subject) {
    let names = sixty();
    for text in &names {
        on.set(text, "x");
        on.store.delete(&name(text), on.wait()).expect("delete");
    }
    on.set("live", "x");
    on.until(|| on.list_deleted().len() == names.len(), "all deletions to be done");
    let deleted: Vec<_> = on.list_deleted().into_iter().map(|item| item.properties).collect();
    assert_eq!(spelled(&deleted), in_order(&names));
    assert_eq!(spelled(&on.list()), ["live"]);
    assert_eq!(on.get_kind("s00"), ErrorKind::NotFound);
}

fn a_deleted_item_tells_when_it_goes(on: &Subject) {
    on.set_with("a", "x", &everything());
    let answer = on.delete("a");
    let item = on.list_deleted().remove(0);
    assert_eq!(given(&item.properties), everything());
    assert_eq!(item.deleted_date, answer.deleted_date);
    assert_eq!(item.scheduled_purge_date, answer.scheduled_purge_date);
    assert_eq!(item.recovery_id, answer.recovery_id);
}
