//! How the bytes of `files/n` stand in a value, which can only be text.
//!
//! The service stores strings. `az keyvault secret set --file --encoding E` notes in the tag `file-encoding` how it made a
//! string of a file, and `az keyvault secret download` undoes it; a PKCS#12 certificate is base64 by its content type. The
//! same here, so that either reads what the other wrote.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::{SecretProperties, Tags};

/// The tag's key.
pub const TAG: &str = "file-encoding";
const PKCS12: &str = "application/x-pkcs12";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A way to make text of bytes. The words of `az`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The text itself.
    Utf8,
    /// The text itself, which has only ASCII.
    Ascii,
    /// Two or four bytes a character, lower byte first.
    Utf16Le,
    /// Two or four bytes a character, upper byte first.
    Utf16Be,
    /// Any bytes; line breaks in the text do not count.
    Base64,
    /// Any bytes.
    Hex,
}

const WORDS: [(Encoding, &str); 6] = [
    (Encoding::Utf8, "utf-8"),
    (Encoding::Ascii, "ascii"),
    (Encoding::Utf16Le, "utf-16le"),
    (Encoding::Utf16Be, "utf-16be"),
    (Encoding::Base64, "base64"),
    (Encoding::Hex, "hex"),
];

impl Encoding {
    /// How a secret's file is encoded.
    pub fn of(properties: &SecretProperties) -> Self {
        Self::told(properties.tags.as_ref(), properties.content_type.as_deref())
    }

    /// How a file is encoded by its tag, else by its content type. A tag that is none of ours is as no tag.
    pub fn told(tags: Option<&Tags>, content_type: Option<&str>) -> Self {
        let tagged = tags.and_then(|tags| tags.get(TAG));
        if let Some((encoding, _)) =
            tagged.and_then(|tag| WORDS.iter().find(|(_, word)| tag.eq_ignore_ascii_case(word)))
        {
            return *encoding;
        }
        if is_pkcs12(content_type) { Self::Base64 } else { Self::Utf8 }
    }

    /// The word in the tag.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(encoding, _)| *encoding == self).map_or("", |(_, word)| word)
    }

    /// The file's bytes; `None` if the text is not what the encoding makes.
    pub fn decode(self, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Utf8 => Some(Zeroizing::new(text.as_bytes().to_vec())),
            Self::Ascii => text.is_ascii().then(|| Zeroizing::new(text.as_bytes().to_vec())),
            Self::Utf16Le => Some(from_units(text, u16::to_le_bytes)),
            Self::Utf16Be => Some(from_units(text, u16::to_be_bytes)),
            Self::Base64 => {
                let packed: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
                BASE64.decode(packed.as_bytes()).ok().map(Zeroizing::new)
            }
            Self::Hex => from_hex(text.trim_ascii()),
        }
    }

    /// The text for these bytes; `None` if this encoding has none.
    pub fn encode(self, bytes: &[u8]) -> Option<Zeroizing<String>> {
        match self {
            Self::Utf8 => text_of(bytes),
            Self::Ascii => text_of(bytes).filter(|text| text.is_ascii()),
            Self::Utf16Le => to_units(bytes, u16::from_le_bytes),
            Self::Utf16Be => to_units(bytes, u16::from_be_bytes),
            Self::Base64 => Some(Zeroizing::new(BASE64.encode(bytes))),
            Self::Hex => Some(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
        }
    }

    /// The most bytes of a file for a text of `text` bytes.
    pub fn most_bytes(self, text: usize) -> usize {
        match self {
            Self::Utf16Le | Self::Utf16Be => 2 * text,
            Self::Utf8 | Self::Ascii | Self::Base64 | Self::Hex => text,
        }
    }
}

/// A file's bytes as text, in the encoding that is there if it can be kept; else as they are if they are text; else in
/// base64. Gives the encoding that the text has.
pub fn encode_keeping(before: Encoding, bytes: &[u8]) -> (Encoding, Zeroizing<String>) {
    let kept = before.encode(bytes).map(|text| (before, text));
    let plain = || Encoding::Utf8.encode(bytes).map(|text| (Encoding::Utf8, text));
    kept.or_else(plain).unwrap_or_else(|| (Encoding::Base64, Zeroizing::new(BASE64.encode(bytes))))
}

/// The tags that go with a text in `encoding`. None is added where nothing needs to be said.
pub fn retag(tags: Option<Tags>, content_type: Option<&str>, encoding: Encoding) -> Option<Tags> {
    let untagged = if is_pkcs12(content_type) { Encoding::Base64 } else { Encoding::Utf8 };
    let has_tag = tags.as_ref().is_some_and(|tags| tags.contains_key(TAG));
    if !has_tag && encoding == untagged {
        return tags;
    }
    let mut tags = tags.unwrap_or_default();
    tags.insert(TAG.to_owned(), encoding.word().to_owned());
    Some(tags)
}

fn is_pkcs12(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|content_type| content_type.eq_ignore_ascii_case(PKCS12))
}

fn text_of(bytes: &[u8]) -> Option<Zeroizing<String>> {
    std::str::from_utf8(bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

fn from_units(text: &str, split: fn(u16) -> [u8; 2]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    text.encode_utf16().for_each(|unit| bytes.extend(split(unit)));
    bytes
}

fn to_units(bytes: &[u8], join: fn([u8; 2]) -> u16) -> Option<Zeroizing<String>> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let mut units: Vec<u16> = bytes.chunks_exact(2).map(|pair| join([pair[0], pair[1]])).collect();
    let text = String::from_utf16(&units).ok().map(Zeroizing::new);
    units.zeroize();
    text
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for at in (0..text.len()).step_by(2) {
        let pair = text.get(at..at + 2).filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretName;

    fn properties(tag: Option<&str>, content_type: Option<&str>) -> SecretProperties {
        SecretProperties {
            tags: tag.map(|tag| Tags::from([(TAG.to_owned(), tag.to_owned())])),
            content_type: content_type.map(str::to_owned),
            ..SecretProperties::bare("https://v", &SecretName::parse("n").expect("legal"))
        }
    }

    #[test]
    fn the_tag_decides_then_the_content_type() {
        for (tag, content_type, encoding) in [
            (None, None, Encoding::Utf8),
            (Some("hex"), None, Encoding::Hex),
            (Some("UTF-16LE"), None, Encoding::Utf16Le),
            (Some("rot13"), None, Encoding::Utf8),
            (None, Some("application/x-pkcs12"), Encoding::Base64),
            (Some("utf-8"), Some("application/x-pkcs12"), Encoding::Utf8),
        ] {
            assert_eq!(Encoding::of(&properties(tag, content_type)), encoding, "{tag:?} {content_type:?}");
        }
    }

    #[test]
    fn every_encoding_gives_back_what_it_took() {
        for (encoding, _) in WORDS {
            for text in ["", "plain", "line\nbreak"] {
                let bytes = match encoding {
                    Encoding::Base64 | Encoding::Hex => text.as_bytes().to_vec(),
                    _ => encoding.decode(text).expect("decodes").to_vec(),
                };
                let encoded = encoding.encode(&bytes).expect("encodes");
                assert_eq!(*encoding.decode(&encoded).expect("decodes"), bytes, "{encoding:?} {text:?}");
            }
        }
    }

    #[test]
    fn what_az_writes_is_read() {
        // Python's base64.encodebytes breaks lines; b64encode does not.
        assert_eq!(*Encoding::Base64.decode("aGVs\nbG8=\n").expect("read"), b"hello");
        assert_eq!(*Encoding::Hex.decode("00fF").expect("read"), [0, 255]);
        assert_eq!(*Encoding::Utf16Be.decode("aé").expect("read"), [0, b'a', 0, 0xe9]);
        assert_eq!(*Encoding::Utf16Le.decode("𝄞").expect("read"), [0x34, 0xd8, 0x1e, 0xdd]);
    }

    #[test]
    fn what_is_not_the_encoding_is_not_guessed() {
        for (encoding, text) in [
            (Encoding::Base64, "not base64!"),
            (Encoding::Hex, "0"),
            (Encoding::Hex, "zz"),
            (Encoding::Hex, "+1"),
            (Encoding::Ascii, "é"),
        ] {
            assert!(encoding.decode(text).is_none(), "{encoding:?} {text:?}");
        }
    }

    #[test]
    fn a_save_keeps_the_encoding_where_it_can() {
        for (before, bytes, after) in [
            (Encoding::Utf8, &b"text"[..], Encoding::Utf8),
            (Encoding::Utf8, &[0xff, 0], Encoding::Base64),
            (Encoding::Ascii, "é".as_bytes(), Encoding::Utf8),
            (Encoding::Utf16Le, &[b'a', 0], Encoding::Utf16Le),
            (Encoding::Utf16Le, b"odd", Encoding::Utf8),
            (Encoding::Utf16Le, &[0xff, 0xdf, 0xff], Encoding::Base64),
            (Encoding::Hex, b"text", Encoding::Hex),
        ] {
            let (encoding, text) = encode_keeping(before, bytes);
            assert_eq!(encoding, after, "{before:?} {bytes:?}");
            assert_eq!(*encoding.decode(&text).expect("decodes"), bytes);
        }
    }

    #[test]
    fn a_tag_is_written_only_where_something_is_to_be_said() {
        assert_eq!(retag(None, None, Encoding::Utf8), None);
        assert_eq!(retag(None, Some(PKCS12), Encoding::Base64), None);
        let tags = retag(None, None, Encoding::Base64).expect("a tag");
        assert_eq!(tags[TAG], "base64");
        assert_eq!(retag(Some(tags), None, Encoding::Utf8).expect("a tag")[TAG], "utf-8");
    }
}
