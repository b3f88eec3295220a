//! Sealing and opening: payload -> zstd -> padding -> XChaCha20-Poly1305, and back.
//!
//! Layout of a ciphertext: `nonce 24 | encrypted (payload length u32 le | frame length u32 le | zstd frame | zeros) | tag 16`.
//! The zeros round the size up as Padmé does (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", 2019), so that a size tells at most 12 % less than itself and mostly far fewer bits.
//!
//! Invariants:
//! 1. Nothing is decrypted under a key other than the one the header commits to.
//! 2. Nothing is allocated for a payload before its claimed size is within the limit and possible for its frame.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zstd::zstd_safe;

use crate::clock::Hlc;
use crate::codec::{DecodeError, Reader};
use crate::device::DeviceKeys;
use crate::entry::{ENTRY_DOMAIN, EntryHeader, SealedEntry, StreamOpening, ciphertext_hash};
use crate::ids::{AdminHash, EntryHash, EpochId, SequenceNumber, StreamId, WorkspaceId};
use crate::keys::ContentKey;
use crate::limits::{CIPHERTEXT_BYTES_MAX, PAYLOAD_BYTES_MAX};

const LEVEL: i32 = 3;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const LENGTHS_LEN: usize = 8;
/// The most that one zstd block can stand for, and the least it takes up (a 3-byte head and one byte to repeat).
const BLOCK_BYTES_MAX: usize = 128 << 10;
const BLOCK_LEN_MIN: usize = 4;

/// What is sealed, and where it goes.
#[derive(Debug)]
pub struct SealInput<'a> {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The stream; its author must be the holder of `keys`.
    pub stream: StreamId,
    /// The place in the stream, from 1.
    pub sequence: SequenceNumber,
    /// The hash of the entry before; zero for the first.
    pub previous: EntryHash,
    /// The newest admin operations known, ascending and distinct.
    pub frontier: Vec<AdminHash>,
    /// The epoch whose secret protects the content key.
    pub epoch: EpochId,
    /// The greatest clock in the payload.
    pub clock: Hlc,
    /// Given for the first entry of the stream and of every later epoch in it.
    pub opening: Option<StreamOpening>,
    /// The plaintext.
    pub payload: &'a [u8],
    /// The key of the stream in this epoch.
    pub content_key: &'a ContentKey,
    /// The signer.
    pub keys: &'a DeviceKeys,
    /// Random, and never used before with this content key.
    pub nonce: [u8; 24],
}

/// Reports a payload that cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The payload is above the limit.
    #[error("the payload has {len} bytes, above the limit of {PAYLOAD_BYTES_MAX}; split the transaction")]
    TooLarge {
        /// The payload's size in bytes.
        len: usize,
    },
    /// The stream belongs to another device.
    #[error("the stream belongs to another device than the one that signs")]
    NotTheAuthor,
    /// The header would not decode.
    #[error("the entry's header is malformed")]
    Header(#[source] DecodeError),
    /// The compressor or the cipher failed.
    #[error("the payload could not be {0}")]
    Failed(&'static str),
}

/// Reports a ciphertext that does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key is not the one the header commits to.
    #[error("the content key is not the one the entry was sealed with")]
    WrongKey,
    /// The cipher refused the bytes or the header.
    #[error("the ciphertext was not sealed with this header and key")]
    Forged,
    /// The plaintext claims a size above the limit, or one its frame cannot hold.
    #[error("the entry claims a payload of {len} bytes, above what is allowed for its size")]
    TooLarge {
        /// The claimed size in bytes.
        len: usize,
    },
    /// The author sealed something that is not a padded frame.
    #[error("the sealed payload is malformed: {0}")]
    Malformed(&'static str),
}

/// Seals entries one after the other and keeps the compressor's memory between them.
pub struct Sealer {
    compressor: zstd_safe::CCtx<'static>,
    frame: Vec<u8>,
}

impl Default for Sealer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// Makes a sealer.
    pub fn new() -> Self {
        Self { compressor: zstd_safe::CCtx::create(), frame: Vec::new() }
    }

    /// Seals one entry.
    pub fn seal(&mut self, input: SealInput<'_>) -> Result<SealedEntry, SealError> {
        if input.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(SealError::TooLarge { len: input.payload.len() });
        }
        if input.stream.author != input.keys.author() {
            return Err(SealError::NotTheAuthor);
        }
        let mut header = EntryHeader {
            workspace: input.workspace,
            stream: input.stream,
            sequence: input.sequence,
            previous: input.previous,
            frontier: input.frontier,
            epoch: input.epoch,
            key_commitment: input.content_key.commitment(),
            clock: input.clock,
            ciphertext_len: 0,
            ciphertext_hash: [0; 32],
            opening: input.opening,
        };
        header.check().map_err(SealError::Header)?;
        self.frame.clear();
        self.frame.reserve(zstd_safe::compress_bound(input.payload.len()));
        self.compressor.compress(&mut self.frame, input.payload, LEVEL).map_err(|_| SealError::Failed("compressed"))?;
        let ciphertext =
            self.encrypt(input.payload.len(), input.content_key, &input.nonce, &header.associated_data())?;
        header.ciphertext_len = ciphertext.len() as u32;
        header.ciphertext_hash = ciphertext_hash(&ciphertext);
        let signature = input.keys.sign(ENTRY_DOMAIN, &header.encode());
        Ok(SealedEntry { header, signature, ciphertext })
    }

    fn encrypt(
        &self,
        payload_len: usize,
        key: &ContentKey,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let padded_len = padme(LENGTHS_LEN + self.frame.len());
        let ciphertext_len = NONCE_LEN + padded_len + TAG_LEN;
        debug_assert!(ciphertext_len <= CIPHERTEXT_BYTES_MAX);
        let mut out = Vec::with_capacity(ciphertext_len);
        out.extend_from_slice(nonce);
        out.extend_from_slice(&(payload_len as u32).to_le_bytes());
        out.extend_from_slice(&(self.frame.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.frame);
        out.resize(NONCE_LEN + padded_len, 0);
        let tag = XChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
            .encrypt_in_place_detached(XNonce::from_slice(nonce), associated, &mut out[NONCE_LEN..])
            .map_err(|_| SealError::Failed("encrypted"))?;
        out.extend_from_slice(&tag);
        Ok(out)
    }
}

/// Opens entries one after the other and keeps the decompressor's memory between them.
pub struct Opener {
    decompressor: zstd_safe::DCtx<'static>,
    plaintext: Vec<u8>,
}

impl Default for Opener {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener(..)")
    }
}

impl Opener {
    /// Makes an opener.
    pub fn new() -> Self {
        Self { decompressor: zstd_safe::DCtx::create(), plaintext: Vec::new() }
    }

    /// Opens one entry that has been verified.
    pub fn open(&mut self, entry: &SealedEntry, key: &ContentKey) -> Result<Vec<u8>, OpenError> {
        if key.commitment() != entry.header.key_commitment {
            return Err(OpenError::WrongKey);
        }
        let ciphertext = &entry.ciphertext;
        if ciphertext.len() < NONCE_LEN + TAG_LEN {
            return Err(OpenError::Forged);
        }
        let (nonce, rest) = ciphertext.split_at(NONCE_LEN);
        let (encrypted, tag) = rest.split_at(rest.len() - TAG_LEN);
        self.plaintext.clear();
        self.plaintext.extend_from_slice(encrypted);
        XChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
            .decrypt_in_place_detached(
                XNonce::from_slice(nonce),
                &entry.header.associated_data(),
                &mut self.plaintext,
                Tag::from_slice(tag),
            )
            .map_err(|_| OpenError::Forged)?;
        let mut reader = Reader::new(&self.plaintext);
        let short = |_| OpenError::Malformed("it is cut short");
        let payload_len = u32::from_le_bytes(reader.array("payload length").map_err(short)?) as usize;
        let frame_len = u32::from_le_bytes(reader.array("frame length").map_err(short)?) as usize;
        let frame = reader.take(frame_len, "frame").map_err(short)?;
        if padme(LENGTHS_LEN + frame_len) != self.plaintext.len() || reader.rest().iter().any(|&byte| byte != 0) {
            return Err(OpenError::Malformed("its padding is wrong"));
        }
        decompress(&mut self.decompressor, frame, payload_len)
    }
}

fn decompress(
    decompressor: &mut zstd_safe::DCtx<'static>,
    frame: &[u8],
    payload_len: usize,
) -> Result<Vec<u8>, OpenError> {
    let possible_len = (frame.len() / BLOCK_LEN_MIN).saturating_mul(BLOCK_BYTES_MAX);
    if payload_len > PAYLOAD_BYTES_MAX.min(possible_len) {
        return Err(OpenError::TooLarge { len: payload_len });
    }
    if zstd_safe::get_frame_content_size(frame).ok().flatten() != Some(payload_len as u64) {
        return Err(OpenError::Malformed("its frame has another size"));
    }
    if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err(OpenError::Malformed("its frame is not one whole frame"));
    }
    // The output never outgrows this: zstd writes no further than the capacity.
    let mut payload = Vec::with_capacity(payload_len);
    match decompressor.decompress(&mut payload, frame) {
        Ok(len) if len == payload_len => Ok(payload),
        _ => Err(OpenError::Malformed("its frame does not decompress")),
    }
}

/// Rounds a size up so that it keeps only as many significant bits as its exponent has.
const fn padme(len: usize) -> usize {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - significant)) - 1;
    (len + mask) & !mask
}

/// Seals one entry; a [`Sealer`] is faster for many.
pub fn seal(input: SealInput<'_>) -> Result<SealedEntry, SealError> {
    Sealer::new().seal(input)
}

/// Opens one entry that has been verified; an [`Opener`] is faster for many.
pub fn open(entry: &SealedEntry, key: &ContentKey) -> Result<Vec<u8>, OpenError> {
    Opener::new().open(entry, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableId;
    use crate::ids::{BlindedTable, IncarnationId};
    use crate::keys::EpochSecret;

    fn keys() -> DeviceKeys {
        DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32])
    }

    fn seal_payload(sealer: &mut Sealer, payload: &[u8], key: &ContentKey) -> SealedEntry {
        let scope = EpochSecret::from_bytes([4; 32]).scope_key(TableId::SCHEMA, None);
        let opening = StreamOpening::seal(key, BlindedTable::default(), &scope, &[]);
        let keys = keys();
        let stream = StreamId { author: keys.author(), incarnation: IncarnationId::default(), lane: opening.lane_id() };
        let input = SealInput {
            workspace: WorkspaceId::default(),
            stream,
            sequence: SequenceNumber::new(1),
            previous: EntryHash::default(),
            frontier: vec![],
            epoch: EpochId::default(),
            clock: Hlc::default(),
            opening: Some(opening),
            payload,
            content_key: key,
            keys: &keys,
            nonce: [5; 24],
        };
        sealer.seal(input).unwrap()
    }

    /// Encrypts a plaintext of the author's own making in place of the sealed one.
    fn forge_plaintext(entry: &mut SealedEntry, key: &ContentKey, payload_len: u32, frame: &[u8], padded_len: usize) {
        let sealer = Sealer { frame: frame.to_vec(), ..Sealer::new() };
        let associated = entry.header.associated_data();
        if padded_len == 0 {
            entry.ciphertext = sealer.encrypt(payload_len as usize, key, &[6; 24], &associated).unwrap();
            return;
        }
        let mut out = vec![6; NONCE_LEN];
        out.extend_from_slice(&payload_len.to_le_bytes());
        out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        out.extend_from_slice(frame);
        out.resize(NONCE_LEN + padded_len, 0);
        let tag = XChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
            .encrypt_in_place_detached(XNonce::from_slice(&[6; 24]), &associated, &mut out[NONCE_LEN..])
            .unwrap();
        out.extend_from_slice(&tag);
        entry.ciphertext = out;
    }

    #[test]
    fn payloads_of_all_sizes_come_back() {
        let (mut sealer, mut opener) = (Sealer::new(), Opener::new());
        let key = ContentKey::from_bytes([7; 32]);
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for len in [0, 1, 2, 3, 100, 4095, 4096, 131_072, 131_073, 300_000] {
            for payload in [&noise[..len], &vec![0; len][..]] {
                let entry = seal_payload(&mut sealer, payload, &key);
                entry.verify(WorkspaceId::default()).unwrap();
                assert_eq!(opener.open(&entry, &key).as_deref(), Ok(payload), "{len}");
            }
        }
        let zeros = vec![0; PAYLOAD_BYTES_MAX];
        let entry = seal_payload(&mut sealer, &zeros, &key);
        assert!(entry.ciphertext.len() < 20_000, "a payload of the greatest size that compresses to nearly nothing");
        assert!(opener.open(&entry, &key).unwrap() == zeros);
    }

    #[test]
    fn size_shows_little() {
        let lens: std::collections::BTreeSet<_> = (1..10_000).map(padme).collect();
        assert!(lens.len() < 170, "{}", lens.len());
        assert!((9..1_000_000).all(|len| padme(len) >= len && padme(len) * 8 <= len * 9));
        assert!(PAYLOAD_BYTES_MAX + 4096 + zstd_safe::compress_bound(PAYLOAD_BYTES_MAX) / 32 <= CIPHERTEXT_BYTES_MAX);
        assert!(NONCE_LEN + padme(8 + zstd_safe::compress_bound(PAYLOAD_BYTES_MAX)) + TAG_LEN <= CIPHERTEXT_BYTES_MAX);
    }

    #[test]
    fn other_key_is_refused_before_decryption() {
        let (key, other) = (ContentKey::from_bytes([7; 32]), ContentKey::from_bytes([8; 32]));
        let mut entry = seal_payload(&mut Sealer::new(), b"payload", &key);
        assert_eq!(open(&entry, &other), Err(OpenError::WrongKey));
        // A header that commits to the other key does not help: the cipher is bound to the header.
        entry.header.key_commitment = other.commitment();
        assert_eq!(open(&entry, &key), Err(OpenError::WrongKey));
        assert_eq!(open(&entry, &other), Err(OpenError::Forged));
    }

    #[test]
    fn decompression_bombs_are_refused_before_allocation() {
        let key = ContentKey::from_bytes([7; 32]);
        let mut entry = seal_payload(&mut Sealer::new(), b"payload", &key);
        let small = zstd::bulk::compress(b"payload", 3).unwrap();
        let large = zstd::bulk::compress(&vec![0; PAYLOAD_BYTES_MAX + 1], 3).unwrap();
        // Says it is above the limit.
        forge_plaintext(&mut entry, &key, PAYLOAD_BYTES_MAX as u32 + 1, &large, 0);
        assert_eq!(open(&entry, &key), Err(OpenError::TooLarge { len: PAYLOAD_BYTES_MAX + 1 }));
        // Says it is small, and its frame says otherwise.
        forge_plaintext(&mut entry, &key, 7, &large, 0);
        assert_eq!(open(&entry, &key), Err(OpenError::Malformed("its frame has another size")));
        // Says more than a frame of this length can hold.
        forge_plaintext(&mut entry, &key, PAYLOAD_BYTES_MAX as u32, &small, 0);
        assert_eq!(open(&entry, &key), Err(OpenError::TooLarge { len: PAYLOAD_BYTES_MAX }));
        // Several frames, or one and something after it.
        for more in [&small[..], &[0], &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]] {
            forge_plaintext(&mut entry, &key, 7, &[&small, more].concat(), 0);
            assert_eq!(open(&entry, &key), Err(OpenError::Malformed("its frame is not one whole frame")));
        }
        // A frame that lies about its own size: its head says 8, its block holds 7.
        let mut lying = small.clone();
        assert_eq!(lying[5], 7, "the content size of a single-segment frame");
        lying[5] = 8;
        forge_plaintext(&mut entry, &key, 8, &lying, 0);
        assert!(open(&entry, &key).is_err());
        lying[5] = 6;
        forge_plaintext(&mut entry, &key, 6, &lying, 0);
        assert!(open(&entry, &key).is_err());
    }

    #[test]
    fn padding_has_one_form() {
        let key = ContentKey::from_bytes([7; 32]);
        let mut entry = seal_payload(&mut Sealer::new(), b"payload", &key);
        let frame = zstd::bulk::compress(b"payload", 3).unwrap();
        let padded_len = padme(8 + frame.len());
        forge_plaintext(&mut entry, &key, 7, &frame, padded_len);
        assert_eq!(open(&entry, &key).as_deref(), Ok(&b"payload"[..]));
        for wrong_len in [padded_len + 1, padded_len * 2] {
            forge_plaintext(&mut entry, &key, 7, &frame, wrong_len);
            assert_eq!(open(&entry, &key), Err(OpenError::Malformed("its padding is wrong")));
        }
        entry.ciphertext.truncate(39);
        assert_eq!(open(&entry, &key), Err(OpenError::Forged));
    }

    #[test]
    fn stream_of_another_device_is_not_sealed() {
        let key = ContentKey::from_bytes([7; 32]);
        let header = seal_payload(&mut Sealer::new(), b"payload", &key).header;
        let other = DeviceKeys::from_seeds([9; 32], [2; 32], [3; 32]);
        let input = SealInput {
            workspace: header.workspace,
            stream: header.stream,
            sequence: header.sequence,
            previous: header.previous,
            frontier: header.frontier,
            epoch: header.epoch,
            clock: header.clock,
            opening: header.opening,
            payload: b"payload",
            content_key: &key,
            keys: &other,
            nonce: [5; 24],
        };
        assert_eq!(seal(input).unwrap_err(), SealError::NotTheAuthor);
    }
}
