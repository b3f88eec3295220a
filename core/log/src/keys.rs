//! The secrets of a workspace and what is derived from them: scope keys, blinded names, content keys and their slots.
//!
//! Every derivation is BLAKE3 in its derive-key mode under a context of its own; docs/FORMAT.md lists them.
//!
//! Invariants:
//! 1. No secret has a `Debug` that shows it, and every secret is wiped when it is dropped.
//! 2. A slot opens to the key that the header commits to, or not at all.

use std::fmt;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::clock::Hlc;
use crate::ids::{
    AuthorId, BlindedTable, BlindedTag, EpochId, IncarnationId, KeyCommitment, KeySlot, LaneId, TableId, derive,
};

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps raw bytes; they must come from the system's random source or from [`Self::as_bytes`].
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// Borrows the raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
pub(crate) use secrets;

secrets! {
    /// One generation of the workspace secret: whoever has it can read what was sealed in that epoch.
    EpochSecret;
    /// Hides the names of tables and tags from peers that only carry entries.
    BlindingSecret;
    /// Opens the content keys of one table, or of one tag of a table, in one epoch.
    ScopeKey;
    /// Encrypts the entries of one stream in one epoch.
    ContentKey;
}

impl EpochSecret {
    /// Returns the epoch's id: a commitment to this secret.
    pub fn id(&self) -> EpochId {
        EpochId::from_bytes(derive("kithdb 2026 epoch id v1", &[&self.0]))
    }

    /// Derives the key of a whole table, or of one tag of it.
    pub fn scope_key(&self, table: TableId, tag: Option<&str>) -> ScopeKey {
        ScopeKey(match tag {
            None => derive("kithdb 2026 table scope key v1", &[&self.0, table.as_bytes()]),
            Some(tag) => derive("kithdb 2026 tag scope key v1", &[&self.0, table.as_bytes(), tag.as_bytes()]),
        })
    }
}

impl BlindingSecret {
    /// Blinds a table's id.
    pub fn blind_table(&self, table: TableId) -> BlindedTable {
        BlindedTable::from_bytes(derive("kithdb 2026 blinded table v1", &[&self.0, table.as_bytes()]))
    }

    /// Blinds a tag; equal tags of different tables look different.
    pub fn blind_tag(&self, table: TableId, tag: &str) -> BlindedTag {
        BlindedTag::from_bytes(derive("kithdb 2026 blinded tag v1", &[&self.0, table.as_bytes(), tag.as_bytes()]))
    }

    /// Computes a lane's id; it needs no secret, so whoever carries an entry can check it. Order and repetition of tags
    /// make no difference.
    pub fn lane_id(table: &BlindedTable, tags: &[BlindedTag]) -> LaneId {
        let mut sorted = tags.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut parts: Vec<&[u8]> = vec![table.as_bytes()];
        parts.extend(sorted.iter().map(|tag| tag.as_bytes() as &[u8]));
        LaneId::from_bytes(derive("kithdb 2026 lane id v1", &parts))
    }
}

/// Reports a key slot that does not open under the scope key to the committed content key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key slot does not open under this scope key")]
pub struct OpenSlotError;

impl ContentKey {
    /// Returns the commitment that entry headers carry.
    pub fn commitment(&self) -> KeyCommitment {
        KeyCommitment::from_bytes(derive("kithdb 2026 content key commitment v1", &[&self.0]))
    }

    /// Seals this key for holders of a scope key.
    pub fn seal_slot(&self, scope: &ScopeKey) -> KeySlot {
        let (cipher, nonce) = slot_cipher(scope, &self.commitment());
        let mut slot = [0; KeySlot::LEN];
        slot[..32].copy_from_slice(&self.0);
        // In-place encryption of 32 bytes fails for no input: the cipher's limit is 256 GiB.
        if let Ok(tag) = cipher.encrypt_in_place_detached(&nonce, &[], &mut slot[..32]) {
            slot[32..].copy_from_slice(&tag);
        } else {
            slot.zeroize();
        }
        KeySlot::from_bytes(slot)
    }

    /// Opens a slot; the key that comes out is the one `commitment` names.
    pub fn open_slot(scope: &ScopeKey, slot: &KeySlot, commitment: &KeyCommitment) -> Result<Self, OpenSlotError> {
        let (cipher, nonce) = slot_cipher(scope, commitment);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&slot.as_bytes()[..32]);
        let tag = Tag::from_slice(&slot.as_bytes()[32..]);
        cipher.decrypt_in_place_detached(&nonce, &[], &mut *key, tag).map_err(|_| OpenSlotError)?;
        let key = Self(*key);
        if key.commitment() != *commitment { Err(OpenSlotError) } else { Ok(key) }
    }
}

/// A slot's cipher key and nonce are derived from the scope key and the commitment: the pair names the one content key it
/// will ever encrypt, so a fixed nonce is never used twice.
fn slot_cipher(scope: &ScopeKey, commitment: &KeyCommitment) -> (XChaCha20Poly1305, XNonce) {
    let derived: Zeroizing<[u8; 56]> =
        Zeroizing::new(derive("kithdb 2026 key slot v1", &[&scope.0, commitment.as_bytes()]));
    (XChaCha20Poly1305::new(Key::from_slice(&derived[..32])), *XNonce::from_slice(&derived[32..]))
}

/// Computes the token by which a transaction's part names its part in another lane, known only to those who can read that
/// lane; `clock` is the transaction's first.
pub fn sibling_token(scope: &ScopeKey, author: AuthorId, incarnation: IncarnationId, clock: Hlc) -> [u8; 16] {
    derive(
        "kithdb 2026 sibling token v1",
        &[&scope.0, author.as_bytes(), incarnation.as_bytes(), &clock.as_u64().to_le_bytes()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_opens_for_its_scope_and_its_commitment_only() {
        let epoch = EpochSecret::from_bytes([1; 32]);
        let table = TableId::derive("notes", 0);
        let (whole, tag) = (epoch.scope_key(table, None), epoch.scope_key(table, Some("family")));
        let (key, other) = (ContentKey::from_bytes([2; 32]), ContentKey::from_bytes([3; 32]));
        let slot = key.seal_slot(&whole);
        assert_eq!(ContentKey::open_slot(&whole, &slot, &key.commitment()), Ok(key.clone()));
        assert_eq!(ContentKey::open_slot(&tag, &slot, &key.commitment()), Err(OpenSlotError));
        assert_eq!(ContentKey::open_slot(&whole, &slot, &other.commitment()), Err(OpenSlotError));
        assert_eq!(ContentKey::open_slot(&whole, &other.seal_slot(&whole), &key.commitment()), Err(OpenSlotError));
    }

    #[test]
    fn derived_keys_differ_by_every_part() {
        let (one, two) = (EpochSecret::from_bytes([1; 32]), EpochSecret::from_bytes([2; 32]));
        let (notes, tasks) = (TableId::derive("notes", 0), TableId::derive("tasks", 0));
        let keys = [
            one.scope_key(notes, None),
            two.scope_key(notes, None),
            one.scope_key(tasks, None),
            one.scope_key(notes, Some("")),
            one.scope_key(notes, Some("a")),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(keys[index + 1..].iter().all(|other| other != key));
        }
        let author = AuthorId::default();
        let token = |key, clock| sibling_token(key, author, IncarnationId::default(), Hlc::from_u64(clock));
        assert_ne!(token(&keys[0], 1), token(&keys[0], 2));
        assert_ne!(token(&keys[0], 1), token(&keys[1], 1));
    }

    #[test]
    fn lanes_are_sets_of_tags() {
        let blinding = BlindingSecret::from_bytes([1; 32]);
        let (notes, tasks) = (TableId::derive("notes", 0), TableId::derive("tasks", 0));
        let (a, b) = (blinding.blind_tag(notes, "a"), blinding.blind_tag(notes, "b"));
        let table = blinding.blind_table(notes);
        assert_eq!(BlindingSecret::lane_id(&table, &[a, b]), BlindingSecret::lane_id(&table, &[b, a, b]));
        assert_ne!(BlindingSecret::lane_id(&table, &[a]), BlindingSecret::lane_id(&table, &[a, b]));
        assert_ne!(BlindingSecret::lane_id(&table, &[]), BlindingSecret::lane_id(&blinding.blind_table(tasks), &[]));
        assert_ne!(blinding.blind_tag(tasks, "a"), a);
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        assert_eq!(format!("{:?}", ContentKey::from_bytes([7; 32])), "ContentKey(..)");
    }
}
