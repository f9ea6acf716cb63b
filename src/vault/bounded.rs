//! Lists and maps of an answer that are given up once they are longer than any answer of the service, before they take
//! memory: three bytes of JSON can be three hundred of ours.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How the error begins.
pub(super) const TOO_MANY: &str = "too many";

/// A list of at most `MOST`, or null.
pub(super) fn items<'de, const MOST: usize, D, T>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_option(Few::<MOST, Vec<T>>(PhantomData))
}

/// Texts by at most `MOST` keys, or null. A key that comes twice counts twice.
pub(super) fn texts<'de, const MOST: usize, D>(from: D) -> Result<Option<BTreeMap<String, String>>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_option(Few::<MOST, BTreeMap<String, String>>(PhantomData))
}

struct Few<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for Few<MOST, Vec<T>> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {MOST}")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::custom(TOO_MANY));
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

impl<'de, const MOST: usize> Visitor<'de> for Few<MOST, BTreeMap<String, String>> {
    type Value = Option<BTreeMap<String, String>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "texts by at most {MOST} keys")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut texts, mut count) = (BTreeMap::new(), 0);
        while let Some((key, text)) = map.next_entry()? {
            count += 1;
            if count > MOST {
                return Err(A::Error::custom(TOO_MANY));
            }
            texts.insert(key, text);
        }
        Ok(Some(texts))
    }
}
