//! Identifiers as newtypes, so that one kind of id can never stand where another is meant.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

use crate::clock::Hlc;

/// Reports a text that is not the lower-case hexadecimal form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: expected {expected_len} hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    expected_len: usize,
}

fn parse_hex(text: &str, out: &mut [u8]) -> Result<(), ParseIdError> {
    match data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        Ok(bytes) if bytes.len() == out.len() => {
            out.copy_from_slice(&bytes);
            Ok(())
        }
        _ => Err(ParseIdError { text: text.chars().take(80).collect(), expected_len: out.len() * 2 }),
    }
}

macro_rules! byte_ids {
    ($($(#[$doc:meta])* $name:ident, $len:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
            /// Wraps a slice, or returns `None` when its length is wrong.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
            /// Borrows the raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
            /// Shortens the id to eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }
        impl Default for $name {
            fn default() -> Self {
                Self([0; $len])
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $len];
                parse_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
    )*};
}

byte_ids! {
    /// Names a workspace: the BLAKE3 hash of its genesis operation.
    WorkspaceId, 32;
    /// Names a device inside a workspace: its Ed25519 public key.
    AuthorId, 32;
    /// Names the unit of selective sync: a hash of the blinded table and tags.
    LaneId, 32;
    /// Names an entry: the BLAKE3 hash of its signed header.
    EntryHash, 32;
    /// Names an admin operation: the BLAKE3 hash of its signed bytes.
    AdminHash, 32;
    /// Names a generation of the workspace secret: a commitment to that secret.
    EpochId, 32;
    /// Names one life of one file of one device; random.
    IncarnationId, 16;
    /// Names a replica for arrival numbers; random, renewed with the incarnation.
    ReplicaId, 16;
    /// Names a synced table: a hash of its folded name and how often that name was used before.
    TableId, 16;
    /// Names a column: a hash of its table, its folded name and earlier uses of that name.
    ColumnId, 16;
    /// Names a table to those without the blinding secret: equal tables look equal, and nothing else shows.
    BlindedTable, 32;
    /// Names a tag of a table to those without the blinding secret.
    BlindedTag, 32;
    /// Commits to a content key, so that a ciphertext opens under one key only.
    KeyCommitment, 32;
    /// A content key sealed under a scope key.
    KeySlot, 48;
    /// An X25519 public key, to which secrets are wrapped.
    ExchangeKey, 32;
    /// The public half of a ticket's one-use secret.
    InviteKey, 32;
    /// An Ed25519 signature.
    Signature, 64;
    /// A random number that one side gives to one session's hello.
    HelloNonce, 32;
    /// Names a workspace in a hello to those who know the workspace, and to nobody else.
    WorkspaceTag, 32;
    /// The epoch secret and the blinding secret, wrapped to one device: a one-use public key and the ciphertext.
    WrappedSecrets, 112;
}

macro_rules! number_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a plain number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }
            /// Unwraps the plain number.
            pub const fn get(self) -> u64 {
                self.0
            }
            /// Returns the number after this one; saturates at the greatest.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

number_ids! {
    /// Numbers the entries of a stream from 1; a stream's height is its last one, 0 when empty.
    SequenceNumber;
    /// Numbers the entries and admin operations that a replica has stored, in order of arrival, from 1.
    ArrivalNumber;
    /// Counts the lives of a row (its causal length): odd while the row lives, even while it is dead.
    Generation;
    /// Tells rows apart that were born under one auto-assigned key: 0 in tables with natural keys.
    Origin;
}

impl Generation {
    /// The first life of a row.
    pub const FIRST: Self = Self(1);
    /// Tells whether this generation is a life rather than a death.
    pub const fn is_live(self) -> bool {
        self.0 % 2 == 1
    }
    /// Returns the life after this one.
    pub const fn next_life(self) -> Self {
        self.next().next()
    }
    /// Returns the greatest generation that an operation may write to at a clock.
    ///
    /// Whoever begins the next life of a row does so at a later clock. The bound grows by two with every tick, as lives do, so there
    /// is room for a next life even where a member has written to the greatest there is.
    pub const fn greatest_at(clock: Hlc) -> Self {
        Self(clock.as_u64().saturating_mul(2).saturating_add(1))
    }
}

/// Folds an SQL identifier as SQLite compares them: ASCII letters only.
pub fn fold_name(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Tells whether the name of a table belongs to SQLite or to KithDB.
pub fn is_reserved(name: &str) -> bool {
    let folded = fold_name(name);
    folded.starts_with("sqlite_") || folded.starts_with("kith_")
}

/// Hashes parts under a domain (BLAKE3 in its derive-key mode); each part goes in with its length, so that no two lists of
/// parts look the same.
pub(crate) fn derive<const N: usize>(context: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; N];
    let mut reader = hasher.finalize_xof();
    reader.fill(&mut out);
    // Parts are secrets in half of the uses, and the state is as good as the secret.
    reader.zeroize();
    hasher.zeroize();
    out
}

impl TableId {
    /// The reserved table whose lane carries the schema operations.
    pub const SCHEMA: Self = Self([0; 16]);

    /// Derives the id of a table from its name and the number of earlier tables of that name.
    pub fn derive(name: &str, earlier_uses: u32) -> Self {
        Self(derive("kithdb 2026 table id v1", &[fold_name(name).as_bytes(), &earlier_uses.to_le_bytes()]))
    }
}

impl ColumnId {
    /// Derives the id of a column from its table, its name and the number of earlier columns of that name.
    pub fn derive(table: TableId, name: &str, earlier_uses: u32) -> Self {
        Self(derive(
            "kithdb 2026 column id v1",
            &[table.as_bytes(), fold_name(name).as_bytes(), &earlier_uses.to_le_bytes()],
        ))
    }
}

impl Origin {
    /// Natural keys need no origin: one key is one row.
    pub const NATURAL: Self = Self(0);
    /// Derives the origin of an auto-numbered row from its content at birth (encoded cells in column order); never 0.
    pub fn of_content(encoded_cells: &[u8]) -> Self {
        let hash = blake3::derive_key("kithdb 2026 row origin v1", encoded_cells);
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_le_bytes(first).max(1))
    }
}

/// Names one hash-chained sequence of entries: an author's writes to one lane during one life of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The device that signs.
    pub author: AuthorId,
    /// The life of its file.
    pub incarnation: IncarnationId,
    /// The lane the entries belong to.
    pub lane: LaneId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = AuthorId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse::<AuthorId>(), Ok(id));
        assert!("xyz".parse::<AuthorId>().is_err());
        assert!("ab".parse::<AuthorId>().is_err());
    }

    #[test]
    fn names_fold_like_sqlite_folds_them() {
        assert_eq!(TableId::derive("Notes", 0), TableId::derive("nOTES", 0));
        assert_ne!(TableId::derive("notes", 0), TableId::derive("notes", 1));
        assert_ne!(TableId::derive("É", 0), TableId::derive("é", 0));
    }

    #[test]
    fn ids_depend_on_every_part() {
        let table = TableId::derive("a", 0);
        assert_ne!(ColumnId::derive(table, "b", 0), ColumnId::derive(TableId::derive("ab", 0), "", 0));
    }

    proptest! {
        #[test]
        fn a_later_clock_has_room_for_the_next_life(clock in 0..u64::MAX / 4, life: u64, later in 1u64..100_000) {
            let greatest = Generation::greatest_at(Hlc::from_u64(clock));
            let next = Generation::new((life | 1).min(greatest.get())).next_life();
            prop_assert!(greatest.is_live() && next.is_live());
            prop_assert!(next <= Generation::greatest_at(Hlc::from_u64(clock + later)));
        }
    }
}
