//! Any value that says it is a certificate: no panic, an end to the work, and PEM that is PEM. Any value in any encoding
//! that az writes: what is written is read back.
#![no_main]

use akvfs::fs::certificate::{CertificateFile, extract};
use akvfs::fs::encoding::{Encoding, decode_base64, encode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;

const ENCODINGS: [Encoding; 3] = [Encoding::Text, Encoding::Base64, Encoding::Hex];

fn all(content_type: &str, value: &str) {
    for file in CertificateFile::ALL {
        let Ok(bytes) = extract(content_type, value, file) else { continue };
        assert!(bytes.len() < 1 << 20);
        if file != CertificateFile::Bundle {
            let text = std::str::from_utf8(&bytes).expect("PEM is text");
            assert!(text.is_empty() || (text.starts_with("-----BEGIN ") && text.ends_with("-----\n")));
        }
        assert_eq!(extract(content_type, value, file).as_ref(), Ok(&bytes), "the same bytes each time");
    }
}

fuzz_target!(|data: &[u8]| {
    // As bytes, so that what is learned is about their structure and not about base64.
    all("application/x-pkcs12", &STANDARD.encode(data));
    for before in ENCODINGS {
        let (encoding, text) = encode(before, data);
        assert!(encoding.decode(&text).is_some_and(|bytes| *bytes == *data));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    all("application/x-pem-file", text);
    all("application/x-pkcs12", text);
    let _ = decode_base64(text);
    ENCODINGS.iter().for_each(|encoding| drop(encoding.decode(text)));
});
