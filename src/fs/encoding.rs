//! How the bytes of `files/n` stand in a value, which can only be text.
//!
//! The service stores strings. `az keyvault secret set --file --encoding E` notes in the tag `file-encoding` how it made a
//! string of a file, and `az keyvault secret download` undoes it. The same here, so that either reads what the other wrote;
//! `tests/sdk/az_files.json` has what az's own functions make of files and values. To az all its text encodings are one:
//! `utf-16le` too stands for a file of UTF-8 that *could* be written in UTF-16.
//!
//! Beyond az, a certificate in PKCS#12 is base64 by its content type: Key Vault sets no tag on it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::secret::{SecretProperties, Tags};

use super::certificate::is_pkcs12;

/// The tag's key.
pub const TAG: &str = "file-encoding";

/// As Python decodes: whatever the last digit's unused bits are. Padding may be missing as well.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The words of az for text; the first is what is written where another would not be true.
const TEXT_WORDS: [&str; 4] = ["utf-8", "ascii", "utf-16le", "utf-16be"];

/// A way to make text of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The text itself, in UTF-8.
    Text,
    /// Any bytes; white space in the text does not count.
    Base64,
    /// Any bytes.
    Hex,
}

impl Encoding {
    /// How a secret's file is encoded.
    pub fn of(properties: &SecretProperties) -> Self {
        Self::told(properties.tags.as_ref(), properties.content_type.as_deref())
    }

    /// How a file is encoded by its tag, else by its content type. A tag that is none of az's is as no tag.
    pub fn told(tags: Option<&Tags>, content_type: Option<&str>) -> Self {
        let tagged = tags.and_then(|tags| tags.get(TAG)).and_then(|tag| Self::of_word(tag));
        tagged.unwrap_or(if is_pkcs12(content_type) { Self::Base64 } else { Self::Text })
    }

    fn of_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "base64" => Some(Self::Base64),
            "hex" => Some(Self::Hex),
            text => TEXT_WORDS.contains(&text).then_some(Self::Text),
        }
    }

    /// The file's bytes; `None` if the text is not what the encoding makes.
    pub fn decode(self, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Text => Some(Zeroizing::new(text.as_bytes().to_vec())),
            Self::Base64 => decode_base64(text),
            Self::Hex => decode_hex(text.trim_ascii()),
        }
    }
}

/// A file's bytes as text, in the encoding that is there if it can be kept, else in base64. Gives the encoding that the
/// text has.
pub fn encode(before: Encoding, bytes: &[u8]) -> (Encoding, Zeroizing<String>) {
    let text = match (before, std::str::from_utf8(bytes)) {
        (Encoding::Text, Ok(text)) => return (Encoding::Text, Zeroizing::new(text.to_owned())),
        (Encoding::Hex, _) => return (Encoding::Hex, Zeroizing::new(encode_hex(bytes))),
        (Encoding::Base64, _) | (Encoding::Text, Err(_)) => BASE64.encode(bytes),
    };
    (Encoding::Base64, Zeroizing::new(text))
}

/// The tags that go with a `text` in this encoding. None is added to plain text; everything else says to az too what it
/// is, a PKCS#12 file included.
pub fn retag(tags: Option<Tags>, encoding: Encoding, text: &str) -> Option<Tags> {
    let before = tags.as_ref().and_then(|tags| tags.get(TAG)).map(String::as_str);
    let word = match (encoding, before) {
        (Encoding::Text, None) => return tags,
        (Encoding::Text, Some("ascii")) if !text.is_ascii() => TEXT_WORDS[0],
        (Encoding::Text, Some(word)) => TEXT_WORDS.into_iter().find(|known| *known == word).unwrap_or(TEXT_WORDS[0]),
        (Encoding::Base64, _) => "base64",
        (Encoding::Hex, _) => "hex",
    };
    let mut tags = tags.unwrap_or_default();
    tags.insert(TAG.to_owned(), word.to_owned());
    Some(tags)
}

/// Decodes base64 with or without padding, whatever white space stands in it.
pub fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    digits.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    BASE64.decode_vec(&*digits, &mut bytes).ok()?;
    Some(bytes)
}

fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    text
}

fn decode_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let [upper, lower] = pair else { return None };
        bytes.push(digit(upper)? << 4 | digit(lower)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::secret::SecretName;

    const PKCS12: &str = "application/x-pkcs12";

    fn tags(tag: Option<&str>) -> Option<Tags> {
        tag.map(|tag| Tags::from([(TAG.to_owned(), tag.to_owned())]))
    }

    fn properties(tag: Option<&str>, content_type: Option<&str>) -> SecretProperties {
        SecretProperties {
            tags: tags(tag),
            content_type: content_type.map(str::to_owned),
            ..SecretProperties::bare("https://v", &SecretName::parse("n").expect("legal"))
        }
    }

    /// What az does, by its own functions (`tests/sdk/az_files.py`).
    fn az(what: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../../tests/sdk/az_files.json")).expect("JSON");
        all[what].as_array().expect("a list").clone()
    }

    fn file(item: &Value) -> Option<Vec<u8>> {
        item["file"].as_str().map(|digits| decode_hex(digits).expect("digits").to_vec())
    }

    #[test]
    fn the_tag_decides_then_the_content_type() {
        for (tag, content_type, encoding) in [
            (None, None, Encoding::Text),
            (Some("hex"), None, Encoding::Hex),
            (Some("HEX"), None, Encoding::Hex),
            (Some("UTF-16LE"), None, Encoding::Text),
            (Some("rot13"), None, Encoding::Text),
            (None, Some(PKCS12), Encoding::Base64),
            (None, Some("Application/X-PKCS12; a=b"), Encoding::Base64),
            (Some("rot13"), Some("application/x-pkcs12"), Encoding::Base64),
            (Some("utf-8"), Some("application/x-pkcs12"), Encoding::Text),
        ] {
            assert_eq!(Encoding::of(&properties(tag, content_type)), encoding, "{tag:?} {content_type:?}");
        }
    }

    #[test]
    fn what_az_downloads_is_what_is_read() {
        let mut compared = 0;
        for item in az("download") {
            let (value, tag) = (item["value"].as_str().expect("a value"), item["tag"].as_str());
            let ours = Encoding::told(tags(tag).as_ref(), None).decode(value).map(|bytes| bytes.to_vec());
            match (file(&item), ours) {
                // Python passes over whatever is no digit, and stops at the padding; that is nobody's file.
                (Some(_), None) => assert!(["aGVsbG8=rest", "a*G*k=", "="].contains(&value), "{tag:?} {value:?}"),
                (Some(theirs), Some(ours)) => {
                    assert_eq!(ours, theirs, "{tag:?} {value:?}");
                    compared += 1;
                }
                (None, _) => {}
            }
        }
        assert!(compared > 60, "{compared}");
    }

    #[test]
    fn what_is_written_az_downloads() {
        let downloads = az("download");
        let mut compared = 0;
        for item in az("set") {
            let (tag, file) = (item["tag"].as_str(), file(&item).expect("bytes"));
            let before = tags(tag);
            let (encoding, text) = encode(Encoding::told(before.as_ref(), None), &file);
            let after = retag(before, encoding, &text).expect("tags");
            let there = |item: &&Value| item["value"] == text.as_str() && item["tag"] == after[TAG].as_str();
            let download =
                downloads.iter().find(there).unwrap_or_else(|| panic!("{after:?} {:?} was not asked", *text));
            assert_eq!(self::file(download).as_deref(), Some(&file[..]), "{tag:?}");
            compared += 1;
        }
        assert!(compared > 60, "{compared}");
    }

    #[test]
    fn what_is_not_the_encoding_is_not_guessed() {
        for (encoding, text) in [
            (Encoding::Base64, "not base64!"),
            (Encoding::Base64, "aGk-"),
            (Encoding::Hex, "0"),
            (Encoding::Hex, "zz"),
            (Encoding::Hex, "+1"),
            (Encoding::Hex, "é"),
        ] {
            assert!(encoding.decode(text).is_none(), "{encoding:?} {text:?}");
        }
    }

    #[test]
    fn a_save_keeps_the_encoding_and_its_word_where_it_can() {
        for (before, bytes, after) in [
            (None, &b"text"[..], None),
            (None, &[0xff, 0], Some("base64")),
            (Some("ascii"), b"text", Some("ascii")),
            (Some("ascii"), "é".as_bytes(), Some("utf-8")),
            (Some("utf-16le"), "é".as_bytes(), Some("utf-16le")),
            (Some("utf-16be"), &[0xff], Some("base64")),
            (Some("UTF-8"), b"text", Some("utf-8")),
            (Some("rot13"), b"text", Some("utf-8")),
            (Some("base64"), b"text", Some("base64")),
            (Some("hex"), b"text", Some("hex")),
        ] {
            let before = tags(before);
            let (encoding, text) = encode(Encoding::told(before.as_ref(), None), bytes);
            assert_eq!(encoding.decode(&text).expect("decodes").to_vec(), bytes);
            assert_eq!(retag(before.clone(), encoding, &text), tags(after), "{before:?} {bytes:?}");
        }
    }

    #[test]
    fn a_pkcs12_file_is_tagged_so_that_az_decodes_it_too() {
        let (encoding, text) = encode(Encoding::told(None, Some(PKCS12)), b"\x30\x82");
        assert_eq!((encoding, text.as_str()), (Encoding::Base64, "MII="));
        assert_eq!(retag(None, encoding, &text), tags(Some("base64")));
    }
}
