//! A listing to its end, page by page, and no further than any listing goes: the vault alone says where it ends, and who
//! follows it holds what it says in memory.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::secret::{DeletedSecret, SecretProperties};
use crate::store::{Continuation, ErrorKind, Operation, Page, StoreError};

/// Pages that a listing may have. The service's are of 25, so this is 50,000 items.
pub const MAX_PAGES: usize = 2_000;

/// What the items of a listing may weigh, in bytes. An ordinary one weighs some 1,000, so this is 20,000 of them. Measured: a
/// mount that reads so much, twice, grows by 50 MiB.
pub const MAX_WEIGHT: usize = 20 * 1024 * 1024;

/// What to do where a vault is too large.
const REMEDY: &str = "each secret can still be read by its name";

/// About what a text weighs beside its letters.
const TEXT: usize = 48;
/// About what a name weighs in the tables of who keeps the item.
const NAME: usize = 650;

/// What takes room in memory.
pub trait Weighed {
    /// How much, about, in bytes.
    fn weight(&self) -> usize;
}

impl Weighed for SecretProperties {
    fn weight(&self) -> usize {
        let texts = [&self.recovery_level, &self.key_id, &self.previous_version];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        NAME + size_of::<Self>() + self.id.len() + self.vault_url.len() + texts + self.words()
    }
}

impl SecretProperties {
    /// How much what its owner has written beside the value weighs, about, in bytes.
    pub(crate) fn words(&self) -> usize {
        let tags = self.tags.iter().flatten().map(|(key, value)| 2 * TEXT + key.len() + value.len());
        self.content_type.as_ref().map_or(0, String::len) + tags.sum::<usize>()
    }
}

impl Weighed for DeletedSecret {
    fn weight(&self) -> usize {
        self.properties.weight() + TEXT + self.recovery_id.as_ref().map_or(0, String::len)
    }
}

/// How far a listing was followed.
#[derive(Clone, Default)]
pub struct Followed {
    weight: usize,
    /// The hashes of the places it led to, which are smaller than the places.
    places: HashSet<u64>,
}

impl Followed {
    /// Whether these may be kept beside what there is already.
    ///
    /// # Errors
    /// [`ErrorKind::Broken`] if that is too much. A listing that is cut short must not look complete.
    pub fn keep<T: Weighed>(&mut self, operation: Operation, items: &[T]) -> Result<(), StoreError> {
        self.weight += items.iter().map(Weighed::weight).sum::<usize>();
        if self.weight > MAX_WEIGHT {
            return Err(broken(operation, format!("the listing has more than {MAX_WEIGHT} bytes; {REMEDY}")));
        }
        Ok(())
    }

    /// Whether the listing may be followed to `place`.
    ///
    /// # Errors
    /// [`ErrorKind::Broken`] if it has been there before, or has gone on for too long.
    pub fn follow(&mut self, operation: Operation, place: &Continuation) -> Result<(), StoreError> {
        let mut hasher = DefaultHasher::new();
        place.0.hash(&mut hasher);
        if !self.places.insert(hasher.finish()) {
            return Err(broken(operation, "the listing leads back to itself".to_owned()));
        }
        if self.places.len() >= MAX_PAGES {
            return Err(broken(operation, format!("the listing has more than {MAX_PAGES} pages; {REMEDY}")));
        }
        Ok(())
    }
}

/// All items of a listing.
///
/// # Errors
/// That of the first page that cannot be had; as [`Followed`].
pub fn all_pages<T: Weighed>(
    operation: Operation,
    page: impl Fn(Option<&Continuation>) -> Result<Page<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (mut items, mut next, mut followed) = (Vec::new(), None, Followed::default());
    loop {
        let page = page(next.as_ref())?;
        followed.keep(operation, &page.items)?;
        items.extend(page.items);
        let Some(more) = page.next else { return Ok(items) };
        followed.follow(operation, &more)?;
        next = Some(more);
    }
}

fn broken(operation: Operation, why: String) -> StoreError {
    StoreError::local(operation, None, ErrorKind::Broken, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretName;

    fn item(content_type: usize) -> SecretProperties {
        let name = SecretName::parse("n").expect("legal");
        SecretProperties { content_type: Some("x".repeat(content_type)), ..SecretProperties::bare("https://v", &name) }
    }

    /// Follows pages of what `items` makes, each of which leads to where `next` says.
    fn follow(items: usize, weight: usize, next: fn(usize) -> Option<usize>) -> Result<usize, String> {
        let page = |from: Option<&Continuation>| {
            let at = from.map_or(0, |from| from.0.parse().expect("our own"));
            let next = next(at).map(|next| Continuation(next.to_string()));
            Ok(Page { items: vec![item(weight); items], next })
        };
        all_pages(Operation::List, page).map(|items| items.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_listing_has_an_end() {
        assert_eq!(follow(25, 0, |at| (at < 39).then_some(at + 1)), Ok(1_000));
        assert_eq!(follow(1, 0, |at| (at < MAX_PAGES - 2).then_some(at + 1)), Ok(MAX_PAGES - 1));
        for (next, why) in [
            (
                (|at| Some(at + 1)) as fn(usize) -> Option<usize>,
                "the listing has more than 2000 pages; each secret can still be read by its name",
            ),
            (|at| Some((at + 1) % 3), "the listing leads back to itself"),
            (|_| Some(7), "the listing leads back to itself"),
        ] {
            assert_eq!(follow(0, 0, next), Err(format!("cannot list secrets: {why}")));
        }
    }

    #[test]
    fn a_listing_has_a_weight() {
        let why = format!("cannot list secrets: the listing has more than {MAX_WEIGHT} bytes; {REMEDY}");
        assert_eq!(follow(10, 100_000, |at| Some(at + 1)), Err(why.clone()));
        assert_eq!(follow(1_000, 0, |at| Some(at + 1)), Err(why));
        let tags = (0..1_000).map(|tag| (tag.to_string(), String::new())).collect();
        assert!(SecretProperties { tags: Some(tags), ..item(0) }.weight() > 90_000, "many small texts weigh too");
    }
}
