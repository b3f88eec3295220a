//! Wrapping the workspace's secrets to one device: X25519, BLAKE3 in its derive-key mode as the KDF, XChaCha20-Poly1305.
//!
//! Layout: `one-use public key 32 | encrypted (epoch secret 32 | blinding secret 32) | tag 16`. The key and the nonce come
//! out of the KDF over the shared secret, both public keys, the workspace and the recipient's author id; the last two are
//! also the associated data.
//!
//! Invariants:
//! 1. What is wrapped to one member opens for no other, and in no other workspace.
//! 2. A public key of small order is refused on both sides, as the shared secret would be known to all.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::device::{DeviceKeys, agree_with};
use crate::ids::{AuthorId, EpochId, ExchangeKey, WorkspaceId, WrappedSecrets, derive};
use crate::keys::{BlindingSecret, EpochSecret};

const SECRETS_LEN: usize = 64;

/// Reports that secrets cannot be wrapped to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device's exchange key is not one that secrets can be wrapped to")]
pub struct WrapError;

/// Reports wrapped secrets that do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// They are for another device or workspace, or not what was wrapped.
    #[error("the secrets are not wrapped to this device in this workspace")]
    NotForUs,
    /// The epoch secret is not the one the workspace committed to.
    #[error("the wrapped secret is not that of epoch {epoch}")]
    WrongEpoch {
        /// The epoch asked for.
        epoch: EpochId,
    },
}

/// Wraps the secrets to a member; `ephemeral_seed` is random and used once.
pub fn wrap_secrets(
    epoch: &EpochSecret,
    blinding: &BlindingSecret,
    workspace: WorkspaceId,
    recipient: AuthorId,
    exchange_key: &ExchangeKey,
    ephemeral_seed: [u8; 32],
) -> Result<WrappedSecrets, WrapError> {
    let secret = StaticSecret::from(ephemeral_seed);
    let ephemeral = ExchangeKey::from_bytes(PublicKey::from(&secret).to_bytes());
    let shared = agree_with(&secret, exchange_key).ok_or(WrapError)?;
    let (cipher, nonce) = cipher(&shared, &ephemeral, exchange_key, workspace, recipient);
    let mut out = [0; WrappedSecrets::LEN];
    let (head, rest) = out.split_at_mut(ExchangeKey::LEN);
    let (body, tag_out) = rest.split_at_mut(SECRETS_LEN);
    head.copy_from_slice(ephemeral.as_bytes());
    body[..32].copy_from_slice(epoch.as_bytes());
    body[32..].copy_from_slice(blinding.as_bytes());
    let associated = associated_data(workspace, recipient);
    match cipher.encrypt_in_place_detached(&nonce, &associated, body) {
        Ok(tag) => tag_out.copy_from_slice(&tag),
        Err(_) => {
            zeroize::Zeroize::zeroize(&mut out);
            return Err(WrapError);
        }
    }
    Ok(WrappedSecrets::from_bytes(out))
}

/// Unwraps the secrets of an epoch that were wrapped to this device.
pub fn unwrap_secrets(
    wrapped: &WrappedSecrets,
    keys: &DeviceKeys,
    workspace: WorkspaceId,
    epoch: EpochId,
) -> Result<(EpochSecret, BlindingSecret), UnwrapError> {
    let (head, rest) = wrapped.as_bytes().split_at(ExchangeKey::LEN);
    let (body, tag) = rest.split_at(SECRETS_LEN);
    let ephemeral = ExchangeKey::from_slice(head).ok_or(UnwrapError::NotForUs)?;
    let shared = keys.agree(&ephemeral).ok_or(UnwrapError::NotForUs)?;
    let (cipher, nonce) = cipher(&shared, &ephemeral, &keys.exchange_key(), workspace, keys.author());
    let mut secrets = Zeroizing::new([0; SECRETS_LEN]);
    secrets.copy_from_slice(body);
    let associated = associated_data(workspace, keys.author());
    cipher
        .decrypt_in_place_detached(&nonce, &associated, &mut *secrets, Tag::from_slice(tag))
        .map_err(|_| UnwrapError::NotForUs)?;
    let mut halves = [(); 2].map(|()| Zeroizing::new([0; 32]));
    halves[0].copy_from_slice(&secrets[..32]);
    halves[1].copy_from_slice(&secrets[32..]);
    let secret = EpochSecret::from_bytes(*halves[0]);
    if secret.id() != epoch {
        return Err(UnwrapError::WrongEpoch { epoch });
    }
    Ok((secret, BlindingSecret::from_bytes(*halves[1])))
}

fn cipher(
    shared: &[u8; 32],
    ephemeral: &ExchangeKey,
    recipient_key: &ExchangeKey,
    workspace: WorkspaceId,
    recipient: AuthorId,
) -> (XChaCha20Poly1305, XNonce) {
    let parts: [&[u8]; 5] =
        [shared, ephemeral.as_bytes(), recipient_key.as_bytes(), workspace.as_bytes(), recipient.as_bytes()];
    let derived: Zeroizing<[u8; 56]> = Zeroizing::new(derive("kithdb 2026 wrap key v1", &parts));
    (XChaCha20Poly1305::new(Key::from_slice(&derived[..32])), *XNonce::from_slice(&derived[32..]))
}

fn associated_data(workspace: WorkspaceId, recipient: AuthorId) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(workspace.as_bytes());
    out[32..].copy_from_slice(recipient.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(seed: u8) -> DeviceKeys {
        DeviceKeys::from_seeds([seed; 32], [seed + 1; 32], [0; 32])
    }

    fn wrap(to: &DeviceKeys) -> WrappedSecrets {
        let (epoch, blinding) = (EpochSecret::from_bytes([1; 32]), BlindingSecret::from_bytes([2; 32]));
        let workspace = WorkspaceId::from_bytes([3; 32]);
        wrap_secrets(&epoch, &blinding, workspace, to.author(), &to.exchange_key(), [4; 32]).unwrap()
    }

    #[test]
    fn secrets_come_back_to_their_member_only() {
        let (workspace, epoch) = (WorkspaceId::from_bytes([3; 32]), EpochSecret::from_bytes([1; 32]).id());
        let (alice, bob) = (device(10), device(20));
        let (secret, blinding) = unwrap_secrets(&wrap(&alice), &alice, workspace, epoch).unwrap();
        assert_eq!((secret.as_bytes(), blinding.as_bytes()), (&[1; 32], &[2; 32]));
        assert_eq!(unwrap_secrets(&wrap(&alice), &bob, workspace, epoch), Err(UnwrapError::NotForUs));
        assert_eq!(unwrap_secrets(&wrap(&bob), &alice, workspace, epoch), Err(UnwrapError::NotForUs));
        // The same exchange key under another signing key: swapped between two members that share it.
        let twin = DeviceKeys::from_seeds([11; 32], [11; 32], [0; 32]);
        assert_eq!(twin.exchange_key(), alice.exchange_key());
        assert_eq!(unwrap_secrets(&wrap(&alice), &twin, workspace, epoch), Err(UnwrapError::NotForUs));
        let elsewhere = WorkspaceId::from_bytes([5; 32]);
        assert_eq!(unwrap_secrets(&wrap(&alice), &alice, elsewhere, epoch), Err(UnwrapError::NotForUs));
        let later = EpochId::from_bytes([6; 32]);
        assert_eq!(
            unwrap_secrets(&wrap(&alice), &alice, workspace, later),
            Err(UnwrapError::WrongEpoch { epoch: later })
        );
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (workspace, epoch) = (WorkspaceId::from_bytes([3; 32]), EpochSecret::from_bytes([1; 32]).id());
        let alice = device(10);
        let mut bytes = *wrap(&alice).as_bytes();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            // X25519 ignores the highest bit of a public key, but the key derivation takes it in.
            assert!(unwrap_secrets(&WrappedSecrets::from_bytes(bytes), &alice, workspace, epoch).is_err(), "{bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn small_order_exchange_keys_are_refused_on_both_sides() {
        let (epoch, blinding) = (EpochSecret::from_bytes([1; 32]), BlindingSecret::from_bytes([2; 32]));
        let (workspace, alice) = (WorkspaceId::from_bytes([3; 32]), device(10));
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            let key = ExchangeKey::from_bytes(point);
            assert_eq!(wrap_secrets(&epoch, &blinding, workspace, alice.author(), &key, [4; 32]), Err(WrapError));
            let mut wrapped = *wrap(&alice).as_bytes();
            wrapped[..32].copy_from_slice(&point);
            let wrapped = WrappedSecrets::from_bytes(wrapped);
            assert_eq!(unwrap_secrets(&wrapped, &alice, workspace, epoch.id()), Err(UnwrapError::NotForUs));
        }
    }
}
