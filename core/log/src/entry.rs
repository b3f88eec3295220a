//! The sealed entry: a signed header that anyone can check, and one ciphertext that members can open.
//!
//! Layout of the header (numbers are LEB128; docs/FORMAT.md has the table): `version u8 | workspace 32 | author 32 |
//! incarnation 16 | lane 32 | sequence | previous 32 | epoch 32 | key commitment 32 | clock | frontier n, n x 32 |
//! opening u8 [table 32 | tags n, n x 32 | slots (n + 1) x 48] | ciphertext length | ciphertext hash 32`.
//! An encoded entry is the header, the signature (64) and the ciphertext.
//!
//! Invariants:
//! 1. A header has exactly one encoding, and its hash is over these bytes and the signature.
//! 2. Checking an entry needs no key: a relay refuses junk that it cannot read.
//! 3. The first entry of a stream carries its opening, and an opening's table and tags hash to the lane's id.

use crate::clock::Hlc;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::device::verify_signature;
use crate::ids::{
    AdminHash, AuthorId, BlindedTable, BlindedTag, EntryHash, EpochId, IncarnationId, KeyCommitment, KeySlot, LaneId,
    SequenceNumber, Signature, StreamId, WorkspaceId, derive,
};
use crate::keys::{BlindingSecret, ContentKey, OpenSlotError, ScopeKey};
use crate::limits::{CIPHERTEXT_BYTES_MAX, FORMAT_VERSION, FRONTIER_MAX, TAGS_MAX};

pub(crate) const ENTRY_DOMAIN: &str = "kithdb 2026 entry signature v1";

/// What the first entry of a stream in an epoch adds: where the stream belongs and who can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOpening {
    /// The blinded table.
    pub table: BlindedTable,
    /// The blinded tags, ascending and distinct.
    pub tags: Vec<BlindedTag>,
    /// The content key under the table's scope key, then under each tag's in the order of `tags`.
    pub slots: Vec<KeySlot>,
}

impl StreamOpening {
    /// Seals the content key for everyone who may read the lane; sorts the tags.
    pub fn seal(
        content_key: &ContentKey,
        table: BlindedTable,
        table_key: &ScopeKey,
        tags: &[(BlindedTag, ScopeKey)],
    ) -> Self {
        let mut sorted: Vec<_> = tags.iter().collect();
        sorted.sort_unstable_by_key(|(tag, _)| *tag);
        sorted.dedup_by_key(|(tag, _)| *tag);
        let mut slots = vec![content_key.seal_slot(table_key)];
        slots.extend(sorted.iter().map(|(_, key)| content_key.seal_slot(key)));
        Self { table, tags: sorted.iter().map(|(tag, _)| *tag).collect(), slots }
    }

    /// Returns the id of the lane that the table and tags make up.
    pub fn lane_id(&self) -> LaneId {
        BlindingSecret::lane_id(&self.table, &self.tags)
    }

    /// Opens the content key with the table's scope key.
    pub fn open(&self, table_key: &ScopeKey, commitment: &KeyCommitment) -> Result<ContentKey, OpenSlotError> {
        ContentKey::open_slot(table_key, self.slots.first().ok_or(OpenSlotError)?, commitment)
    }

    /// Opens the content key with the scope key of one tag.
    pub fn open_with_tag(
        &self,
        tag: &BlindedTag,
        tag_key: &ScopeKey,
        commitment: &KeyCommitment,
    ) -> Result<ContentKey, OpenSlotError> {
        let index = self.tags.iter().position(|known| known == tag).ok_or(OpenSlotError)?;
        ContentKey::open_slot(tag_key, self.slots.get(index + 1).ok_or(OpenSlotError)?, commitment)
    }
}

/// Everything about an entry that is said in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryHeader {
    /// The workspace the entry belongs to.
    pub workspace: WorkspaceId,
    /// The stream, which names the signer.
    pub stream: StreamId,
    /// The place in the stream, from 1.
    pub sequence: SequenceNumber,
    /// The hash of the entry before; zero in the first.
    pub previous: EntryHash,
    /// The newest admin operations the author knew, ascending and distinct.
    pub frontier: Vec<AdminHash>,
    /// The epoch whose secret protects the content key.
    pub epoch: EpochId,
    /// The content key's commitment.
    pub key_commitment: KeyCommitment,
    /// The greatest clock in the entry.
    pub clock: Hlc,
    /// The length of the ciphertext in bytes.
    pub ciphertext_len: u32,
    /// The BLAKE3 hash of the ciphertext.
    pub ciphertext_hash: [u8; 32],
    /// Present in the first entry of the stream and of every later epoch in it.
    pub opening: Option<StreamOpening>,
}

impl EntryHeader {
    /// Encodes the header; what [`Self::check`] refuses does not decode again.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.associated_data();
        put_varint(&mut out, u64::from(self.ciphertext_len));
        out.extend_from_slice(&self.ciphertext_hash);
        out
    }

    /// Encodes what the cipher binds to the ciphertext: the header up to the ciphertext's length.
    pub fn associated_data(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(FORMAT_VERSION);
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.stream.author.as_bytes());
        out.extend_from_slice(self.stream.incarnation.as_bytes());
        out.extend_from_slice(self.stream.lane.as_bytes());
        put_varint(&mut out, self.sequence.get());
        out.extend_from_slice(self.previous.as_bytes());
        out.extend_from_slice(self.epoch.as_bytes());
        out.extend_from_slice(self.key_commitment.as_bytes());
        put_varint(&mut out, self.clock.as_u64());
        put_varint(&mut out, self.frontier.len() as u64);
        for hash in &self.frontier {
            out.extend_from_slice(hash.as_bytes());
        }
        match &self.opening {
            None => out.push(0),
            Some(opening) => {
                out.push(1);
                out.extend_from_slice(opening.table.as_bytes());
                put_varint(&mut out, opening.tags.len() as u64);
                for tag in &opening.tags {
                    out.extend_from_slice(tag.as_bytes());
                }
                for slot in &opening.slots {
                    out.extend_from_slice(slot.as_bytes());
                }
            }
        }
        out
    }

    /// Decodes exactly one header.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Self::read(&mut reader)?;
        reader.finish("entry header")?;
        Ok(header)
    }

    /// Reads a header and leaves the reader behind it.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.byte("entry version")?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown { what: "entry version", value: u64::from(version) });
        }
        let workspace = WorkspaceId::from_bytes(reader.array("workspace")?);
        let stream = StreamId {
            author: AuthorId::from_bytes(reader.array("author")?),
            incarnation: IncarnationId::from_bytes(reader.array("incarnation")?),
            lane: LaneId::from_bytes(reader.array("lane")?),
        };
        let sequence = SequenceNumber::new(reader.varint("sequence number")?);
        let previous = EntryHash::from_bytes(reader.array("previous entry")?);
        let epoch = EpochId::from_bytes(reader.array("epoch")?);
        let key_commitment = KeyCommitment::from_bytes(reader.array("key commitment")?);
        let clock = Hlc::from_u64(reader.varint("clock")?);
        let mut frontier = Vec::new();
        for _ in 0..reader.count(FRONTIER_MAX, "admin frontier")? {
            frontier.push(AdminHash::from_bytes(reader.array("admin frontier")?));
        }
        let opening = match reader.byte("stream opening")? {
            0 => None,
            1 => Some(read_opening(reader)?),
            value => return Err(DecodeError::Unknown { what: "stream opening", value: u64::from(value) }),
        };
        let ciphertext_len = reader.count(CIPHERTEXT_BYTES_MAX, "ciphertext")? as u32;
        let ciphertext_hash = reader.array("ciphertext hash")?;
        let header = Self {
            workspace,
            stream,
            sequence,
            previous,
            frontier,
            epoch,
            key_commitment,
            clock,
            ciphertext_len,
            ciphertext_hash,
            opening,
        };
        header.check()?;
        Ok(header)
    }

    /// Checks what every header must keep to, whoever made it.
    pub fn check(&self) -> Result<(), DecodeError> {
        let wrong = |what| Err(DecodeError::NotCanonical { what });
        let first = self.sequence == SequenceNumber::new(1);
        if self.sequence == SequenceNumber::new(0) {
            return wrong("sequence number");
        }
        if first != (self.previous == EntryHash::default()) {
            return wrong("previous entry");
        }
        if self.frontier.len() > FRONTIER_MAX {
            let size = self.frontier.len() as u64;
            return Err(DecodeError::TooLarge { what: "admin frontier", size, max: FRONTIER_MAX as u64 });
        }
        if !ascends(&self.frontier) {
            return wrong("admin frontier");
        }
        if self.ciphertext_len as usize > CIPHERTEXT_BYTES_MAX {
            let (size, max) = (u64::from(self.ciphertext_len), CIPHERTEXT_BYTES_MAX as u64);
            return Err(DecodeError::TooLarge { what: "ciphertext", size, max });
        }
        match &self.opening {
            None if first => wrong("stream opening"),
            None => Ok(()),
            Some(opening) => {
                let count = opening.tags.len();
                if count > TAGS_MAX {
                    return Err(DecodeError::TooLarge { what: "tags", size: count as u64, max: TAGS_MAX as u64 });
                }
                if !ascends(&opening.tags) || opening.slots.len() != count + 1 {
                    return wrong("stream opening");
                }
                Ok(())
            }
        }
    }
}

fn read_opening(reader: &mut Reader<'_>) -> Result<StreamOpening, DecodeError> {
    let table = BlindedTable::from_bytes(reader.array("blinded table")?);
    let mut tags = Vec::new();
    for _ in 0..reader.count(TAGS_MAX, "tags")? {
        tags.push(BlindedTag::from_bytes(reader.array("blinded tag")?));
    }
    let mut slots = Vec::new();
    for _ in 0..=tags.len() {
        slots.push(KeySlot::from_bytes(reader.array("key slot")?));
    }
    Ok(StreamOpening { table, tags, slots })
}

/// Tells whether a list is sorted and free of repetition.
pub(crate) fn ascends<T: Ord>(list: &[T]) -> bool {
    list.windows(2).all(|pair| pair[0] < pair[1])
}

/// An entry as it is stored and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// What is said in clear.
    pub header: EntryHeader,
    /// The author's signature over the header.
    pub signature: Signature,
    /// The encrypted payload.
    pub ciphertext: Vec<u8>,
}

/// Reports an entry that anyone can see is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The header breaks the format.
    #[error("the entry's header is malformed")]
    Header(#[source] DecodeError),
    /// The entry is from elsewhere.
    #[error("the entry belongs to workspace {found}, not to {expected}")]
    Workspace {
        /// The workspace named by the entry.
        found: WorkspaceId,
        /// The workspace asked for.
        expected: WorkspaceId,
    },
    /// The opening does not hash to the lane.
    #[error("the entry's table and tags do not make up its lane {lane}")]
    Lane {
        /// The lane named by the header.
        lane: LaneId,
    },
    /// The ciphertext is not the one that was signed.
    #[error("the ciphertext is not the one the header names")]
    Ciphertext,
    /// The signature does not hold for the author.
    #[error("the entry is not signed by {author}")]
    Signature {
        /// The author named by the header.
        author: AuthorId,
    },
}

impl SealedEntry {
    /// Encodes the entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.encode();
        out.reserve_exact(Signature::LEN + self.ciphertext.len());
        out.extend_from_slice(self.signature.as_bytes());
        out.extend_from_slice(&self.ciphertext);
        out
    }

    /// Decodes exactly one entry; whether it is true is for [`Self::verify`] to say.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = EntryHeader::read(&mut reader)?;
        let signature = Signature::from_bytes(reader.array("signature")?);
        let ciphertext = reader.take(header.ciphertext_len as usize, "ciphertext")?.to_vec();
        reader.finish("entry")?;
        Ok(Self { header, signature, ciphertext })
    }

    /// Encodes the header alone.
    pub fn header_bytes(&self) -> Vec<u8> {
        self.header.encode()
    }

    /// Returns the entry's name: the hash of its header and signature.
    pub fn hash(&self) -> EntryHash {
        EntryHash::from_bytes(derive("kithdb 2026 entry hash v1", &[&self.header.encode(), self.signature.as_bytes()]))
    }

    /// Returns the size of the encoded entry in bytes.
    pub fn byte_len(&self) -> usize {
        self.header.encode().len() + Signature::LEN + self.ciphertext.len()
    }

    /// Tells whether the ciphertext is the one that the header names; much cheaper than [`Self::verify`].
    pub fn has_own_ciphertext(&self) -> bool {
        self.ciphertext.len() == self.header.ciphertext_len as usize
            && ciphertext_hash(&self.ciphertext) == self.header.ciphertext_hash
    }

    /// Checks everything that needs neither keys nor the rest of the log.
    pub fn verify(&self, workspace: WorkspaceId) -> Result<(), EntryError> {
        self.header.check().map_err(EntryError::Header)?;
        if self.header.workspace != workspace {
            return Err(EntryError::Workspace { found: self.header.workspace, expected: workspace });
        }
        let stream = &self.header.stream;
        if self.header.opening.as_ref().is_some_and(|opening| opening.lane_id() != stream.lane) {
            return Err(EntryError::Lane { lane: stream.lane });
        }
        if !self.has_own_ciphertext() {
            return Err(EntryError::Ciphertext);
        }
        verify_signature(&stream.author, ENTRY_DOMAIN, &self.header.encode(), &self.signature)
            .map_err(|_| EntryError::Signature { author: stream.author })
    }
}

pub(crate) fn ciphertext_hash(ciphertext: &[u8]) -> [u8; 32] {
    derive("kithdb 2026 ciphertext hash v1", &[ciphertext])
}
