//! A device's keys in one workspace: it signs with Ed25519, receives secrets with X25519, and its transport has a third key.
//!
//! Invariants:
//! 1. The three keys come from three seeds; none is derived from, or converted into, another.
//! 2. A signature is valid under one domain only, and never under a key or nonce point of small order.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::ids::{AuthorId, ExchangeKey, Signature, derive};
use crate::limits::FORMAT_VERSION;

/// The secret keys of a device.
#[derive(Clone)]
pub struct DeviceKeys {
    signing: SigningKey,
    exchange: StaticSecret,
    transport: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys({})", self.author().short())
    }
}

impl DeviceKeys {
    /// Builds the keys from three independent random seeds.
    pub fn from_seeds(signing: [u8; 32], exchange: [u8; 32], transport: [u8; 32]) -> Self {
        Self {
            signing: SigningKey::from_bytes(&signing),
            exchange: StaticSecret::from(exchange),
            transport: Zeroizing::new(transport),
        }
    }

    /// Returns the public signing key, which names the device.
    pub fn author(&self) -> AuthorId {
        AuthorId::from_bytes(self.signing.verifying_key().to_bytes())
    }

    /// Returns the public key to which secrets are wrapped.
    pub fn exchange_key(&self) -> ExchangeKey {
        ExchangeKey::from_bytes(PublicKey::from(&self.exchange).to_bytes())
    }

    /// Borrows the seed of the transport's key.
    pub fn transport_secret(&self) -> &[u8; 32] {
        &self.transport
    }

    /// Signs a message under a domain.
    pub fn sign(&self, domain: &str, message: &[u8]) -> Signature {
        sign_with(&self.signing, domain, message)
    }

    /// Agrees on a secret with the holder of `theirs`; `None` if their key is of small order and fixes the outcome.
    pub(crate) fn agree(&self, theirs: &ExchangeKey) -> Option<Zeroizing<[u8; 32]>> {
        agree_with(&self.exchange, theirs)
    }

    /// Writes the keys as the text of a key file.
    pub fn encode_key_file(&self) -> Zeroizing<String> {
        let hex = |bytes: &[u8; 32]| Zeroizing::new(data_encoding::HEXLOWER.encode(bytes));
        let seed = Zeroizing::new(self.signing.to_bytes());
        let exchange = Zeroizing::new(self.exchange.to_bytes());
        // Reserved in full, so that no growth leaves a copy behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(512));
        text.push_str(&format!("{KEY_FILE_TITLE}{FORMAT_VERSION}\n"));
        for (name, bytes) in KEY_NAMES.into_iter().zip([&*seed, &*exchange, &*self.transport]) {
            text.push_str(name);
            text.push_str(&hex(bytes));
            text.push('\n');
        }
        let checksum = key_file_checksum(&text);
        text.push_str(CHECKSUM_NAME);
        text.push_str(&checksum);
        text.push('\n');
        text
    }

    /// Reads the text of a key file.
    pub fn decode_key_file(text: &str) -> Result<Self, KeyFileError> {
        let rest = text.strip_prefix(KEY_FILE_TITLE);
        let rest = match rest {
            Some(rest) => rest,
            None if KEY_FILE_TITLE.starts_with(text) => return Err(KeyFileError::Truncated),
            None => return Err(KeyFileError::NotAKeyFile),
        };
        let (version, mut rest) = rest.split_once('\n').ok_or(KeyFileError::Truncated)?;
        if version != FORMAT_VERSION.to_string() {
            return Err(match version.parse::<u32>() {
                Ok(version) if version > u32::from(FORMAT_VERSION) => KeyFileError::NewerVersion { version },
                _ => KeyFileError::Damaged,
            });
        }
        let mut seeds = [(); 3].map(|()| Zeroizing::new([0; 32]));
        for (name, seed) in KEY_NAMES.into_iter().zip(&mut seeds) {
            let (line, after) = rest.split_once('\n').ok_or(KeyFileError::Truncated)?;
            let digits = line.strip_prefix(name).ok_or(KeyFileError::Damaged)?;
            if digits.len() != 64 {
                return Err(KeyFileError::Damaged);
            }
            data_encoding::HEXLOWER.decode_mut(digits.as_bytes(), &mut **seed).map_err(|_| KeyFileError::Damaged)?;
            rest = after;
        }
        let body_len = text.len() - rest.len();
        let line = rest.strip_suffix('\n').ok_or(KeyFileError::Truncated)?;
        if line.strip_prefix(CHECKSUM_NAME) != Some(&key_file_checksum(&text[..body_len])) {
            return Err(KeyFileError::Damaged);
        }
        Ok(Self::from_seeds(*seeds[0], *seeds[1], *seeds[2]))
    }
}

const KEY_FILE_TITLE: &str = "kithdb device keys, version ";
const KEY_NAMES: [&str; 3] = ["signing ", "exchange ", "transport "];
const CHECKSUM_NAME: &str = "checksum ";

fn key_file_checksum(body: &str) -> String {
    let checksum: [u8; 16] = derive("kithdb 2026 key file checksum v1", &[body.as_bytes()]);
    data_encoding::HEXLOWER.encode(&checksum)
}

/// Reports a key file that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The text is something else.
    #[error("this is not a kithdb key file; point to the file that was written when the device was set up")]
    NotAKeyFile,
    /// The text ends early.
    #[error("the key file is cut short; restore it from a backup, or join the workspace again as a new device")]
    Truncated,
    /// A line or the checksum is wrong.
    #[error("the key file is damaged; restore it from a backup, or join the workspace again as a new device")]
    Damaged,
    /// A later release wrote it.
    #[error("the key file has version {version}, newer than this program knows; update kithdb")]
    NewerVersion {
        /// The version found.
        version: u32,
    },
}

/// Reports a signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold")]
pub struct SignatureError;

/// Verifies a device's signature strictly: small-order keys and nonce points and unreduced encodings are refused.
pub fn verify_signature(
    author: &AuthorId,
    domain: &str,
    message: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    verify_with(author.as_bytes(), domain, message, signature)
}

/// Tells whether bytes are an Ed25519 public key that someone can hold: on the curve, not of small order, in its one form.
pub(crate) fn is_signing_key(bytes: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak() && key.to_edwards().compress().as_bytes() == bytes)
}

pub(crate) fn sign_with(key: &SigningKey, domain: &str, message: &[u8]) -> Signature {
    Signature::from_bytes(key.sign(&with_domain(domain, message)).to_bytes())
}

pub(crate) fn verify_with(
    key: &[u8; 32],
    domain: &str,
    message: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| SignatureError)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    key.verify_strict(&with_domain(domain, message), &signature).map_err(|_| SignatureError)
}

pub(crate) fn agree_with(secret: &StaticSecret, theirs: &ExchangeKey) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.diffie_hellman(&PublicKey::from(*theirs.as_bytes()));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

fn with_domain(domain: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + domain.len() + message.len());
    // Domains are constants of this crate, far below 256 bytes.
    out.push(domain.len() as u8);
    out.extend_from_slice(domain.as_bytes());
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> DeviceKeys {
        DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32])
    }

    /// Points whose multiples are at most eight: a signature under them holds for many messages.
    const SMALL_ORDER: [[u8; 32]; 3] = {
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        [[0; 32], one, minus_one]
    };

    #[test]
    fn key_file_comes_back() {
        let text = keys().encode_key_file();
        let read = DeviceKeys::decode_key_file(&text).unwrap();
        assert_eq!((read.author(), read.exchange_key()), (keys().author(), keys().exchange_key()));
        assert_eq!(read.transport_secret(), &[3; 32]);
        assert_eq!(*read.encode_key_file(), *text);
    }

    #[test]
    fn every_cut_of_a_key_file_is_called_cut_short() {
        let text = keys().encode_key_file();
        for len in 0..text.len() {
            assert_eq!(DeviceKeys::decode_key_file(&text[..len]).unwrap_err(), KeyFileError::Truncated, "{len}");
        }
    }

    #[test]
    fn key_file_of_a_newer_version_says_so() {
        let text = keys().encode_key_file().replace("version 1", "version 2");
        assert_eq!(DeviceKeys::decode_key_file(&text).unwrap_err(), KeyFileError::NewerVersion { version: 2 });
        assert_eq!(DeviceKeys::decode_key_file("a poem\n").unwrap_err(), KeyFileError::NotAKeyFile);
    }

    #[test]
    fn every_changed_character_of_a_key_file_is_refused() {
        let text = keys().encode_key_file();
        for index in 0..text.len() {
            for with in ["0", "x", "\n", " "] {
                let mut changed = text.to_string();
                changed.replace_range(index..=index, with);
                assert!(changed == *text || DeviceKeys::decode_key_file(&changed).is_err(), "{index} {with:?}");
            }
        }
        assert!(DeviceKeys::decode_key_file(&format!("{}\n", *text)).is_err());
    }

    #[test]
    fn signature_holds_for_its_author_domain_and_message_only() {
        let signature = keys().sign("domain a", b"message");
        let other = DeviceKeys::from_seeds([9; 32], [2; 32], [3; 32]).author();
        assert_eq!(verify_signature(&keys().author(), "domain a", b"message", &signature), Ok(()));
        assert!(verify_signature(&keys().author(), "domain b", b"message", &signature).is_err());
        assert!(verify_signature(&keys().author(), "domain am", b"essage", &signature).is_err());
        assert!(verify_signature(&keys().author(), "domain a", b"massage", &signature).is_err());
        assert!(verify_signature(&other, "domain a", b"message", &signature).is_err());
    }

    #[test]
    fn small_order_keys_are_refused() {
        for point in SMALL_ORDER {
            assert!(!is_signing_key(&point));
            // With a small-order key, R = that point and s = 0 satisfy the plain equation for many messages.
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&point);
            for message in 0..16u8 {
                let forged = Signature::from_bytes(signature);
                assert!(verify_signature(&AuthorId::from_bytes(point), "d", &[message], &forged).is_err());
            }
        }
        assert!(is_signing_key(keys().author().as_bytes()));
        for point in [[0; 32], SMALL_ORDER[1]] {
            assert!(keys().agree(&ExchangeKey::from_bytes(point)).is_none());
        }
    }

    #[test]
    fn public_keys_have_one_form() {
        // The least y coordinates have a second encoding, as p + y.
        for y in 0..19 {
            let (mut short, mut long) = ([0; 32], [0xff; 32]);
            short[0] = y;
            long[0] = 0xed + y;
            long[31] = 0x7f;
            assert!(!is_signing_key(&long), "{y}");
            assert!(y != 3 || is_signing_key(&short), "a point of large order");
        }
    }
}
