//! Listings as iterators, item by item or page by page. Knows how to ask for the next page and nothing of where it
//! comes from.

use crate::pages::Followed;
use crate::store::{Continuation, Operation, Page, StoreError};

type Fetch<T> = Box<dyn FnMut(Option<&Continuation>) -> Result<Page<T>, StoreError> + Send>;

/// The items of a listing. Ends with the last one or behind the first error.
pub struct Pager<T> {
    pages: Pages<T>,
    items: std::vec::IntoIter<T>,
}

impl<T> Pager<T> {
    pub(super) fn new(
        operation: Operation,
        fetch: impl FnMut(Option<&Continuation>) -> Result<Page<T>, StoreError> + Send + 'static,
    ) -> Self {
        let pages = Pages { operation, fetch: Box::new(fetch), next: Some(None), followed: Followed::default() };
        Self { pages, items: Vec::new().into_iter() }
    }

    /// The same by pages, from the start or from where a [`Page`]'s `next` points.
    pub fn by_page(self, continuation: Option<Continuation>) -> Pages<T> {
        Pages { next: Some(continuation), ..self.pages }
    }
}

impl<T> Iterator for Pager<T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(Ok(item));
            }
            match self.pages.next()? {
                Ok(page) => self.items = page.items.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The pages of a listing. Ends with the last one or behind the first error.
pub struct Pages<T> {
    operation: Operation,
    fetch: Fetch<T>,
    /// Where the next page starts; `None` when there is none.
    next: Option<Option<Continuation>>,
    /// Nobody keeps the items.
    followed: Followed,
}

impl<T> Iterator for Pages<T> {
    type Item = Result<Page<T>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.next.take()?;
        if let Some(Err(error)) = from.as_ref().map(|from| self.followed.follow(self.operation, from)) {
            return Some(Err(error));
        }
        let fetched = (self.fetch)(from.as_ref());
        if let Ok(Page { next: Some(next), .. }) = &fetched {
            self.next = Some(Some(next.clone()));
        }
        Some(fetched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorKind;

    fn page(items: &[u32], next: Option<&str>) -> Result<Page<u32>, StoreError> {
        Ok(Page { items: items.to_vec(), next: next.map(|next| Continuation(next.to_owned())) })
    }

    fn three_pages(from: Option<&Continuation>) -> Result<Page<u32>, StoreError> {
        match from.map(|from| from.0.as_str()) {
            None => page(&[], Some("b")),
            Some("b") => page(&[1, 2], Some("c")),
            _ => page(&[3], None),
        }
    }

    #[test]
    fn items_come_across_short_and_empty_pages() {
        let items: Vec<u32> = Pager::new(Operation::List, three_pages).map(|item| item.expect("no error")).collect();
        assert_eq!(items, [1, 2, 3]);
    }

    #[test]
    fn pages_can_be_taken_up_again() {
        let mut pages = Pager::new(Operation::List, three_pages).by_page(None);
        assert!(pages.next().expect("a page").expect("no error").items.is_empty());
        let next = pages.next().expect("a page").expect("no error").next;
        let rest: Vec<_> =
            Pager::new(Operation::List, three_pages).by_page(next).map(|page| page.expect("no error").items).collect();
        assert_eq!(rest, [vec![3]]);
    }

    #[test]
    fn an_error_is_the_end() {
        let fail = |_: Option<&Continuation>| -> Result<Page<u32>, StoreError> {
            Err(StoreError::local(Operation::List, None, ErrorKind::Broken, "x"))
        };
        let mut items = Pager::new(Operation::List, fail);
        assert!(items.next().expect("an item").is_err());
        assert!(items.next().is_none());
    }

    #[test]
    fn a_listing_that_leads_back_to_itself_or_nowhere_is_an_error() {
        let circle = |from: Option<&Continuation>| match from.map(|from| from.0.as_str()) {
            Some("b") => page(&[2], Some("c")),
            _ => page(&[1], Some("b")),
        };
        let items: Vec<_> = Pager::new(Operation::List, circle).collect();
        assert_eq!(items.len(), 4);
        assert!(items[3].is_err());
        let mut number = 0;
        let endless = move |_: Option<&Continuation>| {
            number += 1;
            page(&[], Some(&number.to_string()))
        };
        assert_eq!(Pager::new(Operation::List, endless).filter(Result::is_err).count(), 1);
    }
}
