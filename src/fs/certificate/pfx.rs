//! Reading PKCS#12 (RFC 7292) that an empty password protects, or none.

use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode};
use zeroize::Zeroizing;

use super::asn1::{
    CERTIFICATE_BAG, CertificateBag, ContentInfo, DATA, ENCRYPTED_DATA, EncryptedData, EncryptedKey, KEY_BAG, Pfx,
    SHROUDED_KEY_BAG, SafeBag, X509_CERTIFICATE,
};
use super::pbe::{Password, Work, check_mac, decrypt};
use super::{CertificateError, Contents, text};

/// The key and the certificates of a file, in the order they stand there. A file without a MAC is taken as it is.
pub fn read(bytes: &[u8]) -> Result<Contents, CertificateError> {
    let pfx = Pfx::from_der(bytes).map_err(damaged)?;
    let mut work = Work::new();
    match open(&pfx, Password::Empty, &mut work) {
        // Whatever went wrong may come of the wrong form, for a wrong key opens one part in 256 to garbage.
        Err(first) if first != CertificateError::TooMuchWork => {
            let second = open(&pfx, Password::Absent, &mut work);
            second.map_err(|second| if first == CertificateError::Password { second } else { first })
        }
        result => result,
    }
}

fn open(pfx: &Pfx<'_>, password: Password, work: &mut Work) -> Result<Contents, CertificateError> {
    // Any other content than data is signed with a certificate instead of a password.
    if pfx.version != 3 || pfx.content.content_type != DATA {
        return Err(CertificateError::Unsupported);
    }
    let parts = octets(&pfx.content.content)?;
    if let Some(mac) = &pfx.mac {
        check_mac(mac, parts, password, work)?;
    }
    let mut opening = Opening { contents: Contents::default(), password, work };
    for part in Vec::<ContentInfo<'_>>::from_der(parts).map_err(damaged)? {
        opening.take_part(&part)?;
    }
    Ok(opening.contents)
}

struct Opening<'a> {
    contents: Contents,
    password: Password,
    work: &'a mut Work,
}

impl Opening<'_> {
    fn take_part(&mut self, part: &ContentInfo<'_>) -> Result<(), CertificateError> {
        match part.content_type {
            DATA => self.take_bags(octets(&part.content)?),
            ENCRYPTED_DATA => {
                let data: EncryptedData<'_> = part.content.decode_as().map_err(damaged)?;
                let bytes = data.content.bytes.map(|bytes| bytes.as_bytes()).unwrap_or_default();
                let plain = decrypt(&data.content.algorithm, bytes, self.password, self.work)?;
                self.take_bags(&plain)
            }
            _ => Err(CertificateError::Unsupported),
        }
    }

    fn take_bags(&mut self, bags: &[u8]) -> Result<(), CertificateError> {
        for bag in Vec::<SafeBag<'_>>::from_der(bags).map_err(damaged)? {
            match bag.kind {
                KEY_BAG => self.contents.add_key(Zeroizing::new(bag.value.to_der().map_err(damaged)?)),
                SHROUDED_KEY_BAG => self.take_shrouded(&bag.value)?,
                CERTIFICATE_BAG => self.take_certificate(&bag.value)?,
                // Revocation lists, other secrets, bags of bags.
                _ => {}
            }
        }
        Ok(())
    }

    fn take_shrouded(&mut self, value: &AnyRef<'_>) -> Result<(), CertificateError> {
        let shrouded: EncryptedKey<'_> = value.decode_as().map_err(damaged)?;
        let key = decrypt(&shrouded.algorithm, shrouded.bytes.as_bytes(), self.password, self.work)?;
        self.contents.add_key(text::checked(key)?);
        Ok(())
    }

    fn take_certificate(&mut self, value: &AnyRef<'_>) -> Result<(), CertificateError> {
        let bag: CertificateBag<'_> = value.decode_as().map_err(damaged)?;
        if bag.kind == X509_CERTIFICATE {
            self.contents.certificates.push(octets(&bag.value)?.to_vec());
        }
        Ok(())
    }
}

fn octets<'a>(any: &AnyRef<'a>) -> Result<&'a [u8], CertificateError> {
    any.decode_as::<OctetStringRef<'a>>().map(|octets| octets.as_bytes()).map_err(damaged)
}

fn damaged(_: der::Error) -> CertificateError {
    CertificateError::NotPkcs12
}
