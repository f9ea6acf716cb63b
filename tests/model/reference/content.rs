//! What a secret is, and what its files show of it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    pub enabled: Option<bool>,
    pub expires_on: Option<String>,
    pub content_type: Option<String>,
    pub tags: Option<BTreeMap<String, String>>,
}

impl Attributes {
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.as_ref()?.get(key).map(String::as_str)
    }

    fn encoding(&self) -> Encoding {
        match self.tag("file-encoding") {
            Some("base64") => Encoding::Base64,
            Some("hex") => Encoding::Hex,
            Some("utf-8" | "ascii" | "utf-16le" | "utf-16be") => Encoding::Text,
            _ if self.content_type.as_deref() == Some("application/x-pkcs12") => Encoding::Base64,
            _ => Encoding::Text,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Text,
    Base64,
    Hex,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub value: Vec<u8>,
    pub attributes: Attributes,
}

impl Version {
    pub fn is_disabled(&self) -> bool {
        self.attributes.enabled == Some(false)
    }

    /// The bytes of `files/n`; `None` if the value is not what the tag says.
    pub fn file(&self) -> Option<Vec<u8>> {
        match self.attributes.encoding() {
            Encoding::Text => Some(self.value.clone()),
            Encoding::Base64 => from_digits(&self.value, 6, base64_digit),
            Encoding::Hex => {
                let text = self.value.trim_ascii();
                text.len().is_multiple_of(2).then(|| from_digits(text, 4, hex_digit))?
            }
        }
    }

    /// The same version with other bytes for `files/n`, in its encoding if that can be.
    pub fn with_file(&self, bytes: &[u8]) -> Self {
        let mut attributes = self.attributes.clone();
        let (word, value) = match (attributes.encoding(), std::str::from_utf8(bytes)) {
            (Encoding::Hex, _) => (Some("hex"), to_digits(bytes, 4, b"0123456789abcdef")),
            (Encoding::Text, Ok(text)) => {
                let lies = attributes.tag("file-encoding") == Some("ascii") && !text.is_ascii();
                (lies.then_some("utf-8"), bytes.to_vec())
            }
            (Encoding::Base64, _) | (Encoding::Text, Err(_)) => {
                let mut value = to_digits(bytes, 6, BASE64);
                value.resize(value.len().next_multiple_of(4), b'=');
                (Some("base64"), value)
            }
        };
        if let Some(word) = word {
            attributes.tags.get_or_insert_default().insert("file-encoding".to_owned(), word.to_owned());
        }
        Self { value, attributes }
    }

    /// The files of `certificate/`, if there are any: their names and bytes, or the errno of reading them. `None` where
    /// it is left open what a damaged certificate still shows.
    pub fn certificate(&self) -> Option<BTreeMap<&'static str, Result<Vec<u8>, i32>>> {
        let names = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "bundle.pfx"];
        let is = |content_type| self.attributes.content_type.as_deref() == Some(content_type);
        if !is("application/x-pkcs12") && !is("application/x-pem-file") {
            return Some(BTreeMap::new());
        }
        let pem = pem();
        if is("application/x-pem-file") && self.value == pem.value.as_bytes() {
            let parts = [&pem.cert, "", &pem.cert, &pem.key].map(|part| Ok(part.as_bytes().to_vec()));
            return Some(names.into_iter().zip(parts).collect());
        }
        let damaged = is("application/x-pem-file") && self.value.windows(5).any(|part| part == b"-----");
        (!damaged).then(|| names.map(|name| (name, Err(libc::EIO))).into())
    }
}

#[derive(Clone, Debug, Default)]
pub struct Secret {
    /// The last one is current.
    pub versions: Vec<Version>,
    pub deleted: Option<u64>,
}

impl Secret {
    pub fn current(&self) -> &Version {
        self.versions.last().expect("one at least")
    }
}

/// A certificate with its key, as Key Vault has it under `application/x-pem-file`.
pub struct Pem {
    pub value: String,
    cert: String,
    key: String,
}

pub fn pem() -> &'static Pem {
    static PEM: OnceLock<Pem> = OnceLock::new();
    PEM.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["web.example".to_owned()]).expect("a certificate");
        let (key, cert) = (made.signing_key.serialize_pem(), made.cert.pem());
        let [key, cert] = [key, cert].map(|text| text.replace('\r', ""));
        Pem { value: format!("{key}{cert}"), cert, key }
    })
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_digit(digit: u8) -> Option<u32> {
    BASE64.iter().position(|other| *other == digit).map(|place| place as u32)
}

fn hex_digit(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

/// Bytes of digits of `bits` bits each; white space, and `=` at the end, do not count.
fn from_digits(text: &[u8], bits: usize, value: fn(u8) -> Option<u32>) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|digit| bits == 4 || !digit.is_ascii_whitespace()).collect();
    let padding = digits.iter().rev().take_while(|digit| bits == 6 && **digit == b'=').count();
    let digits = &digits[..digits.len() - padding];
    let (mut bytes, mut held, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits {
        held = held << bits | value(*digit)?;
        count += bits;
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
        }
    }
    (count < bits).then_some(bytes)
}

fn to_digits(bytes: &[u8], bits: usize, digits: &[u8]) -> Vec<u8> {
    let all: Vec<bool> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let digit = |bits_of: &[bool]| {
        let number = bits_of.iter().fold(0, |number, bit| number << 1 | usize::from(*bit));
        digits[number << (bits - bits_of.len())]
    };
    all.chunks(bits).map(digit).collect()
}
