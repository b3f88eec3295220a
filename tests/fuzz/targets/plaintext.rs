//! What is inside a ciphertext: a member may encrypt anything, so opening must be safe behind the cipher too.
//!
//! The input is a declared payload length (4 bytes) and a frame; the target pads and encrypts it as sealing would.
#![no_main]

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use kithdb_log::{
    BlindedTable, ContentKey, DeviceKeys, EntryHash, EpochId, EpochSecret, Hlc, IncarnationId, Opener, SealInput,
    SealedEntry, Sealer, SequenceNumber, StreamId, StreamOpening, TableId, WorkspaceId, limits,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((payload_len, frame)) = bytes.split_first_chunk::<4>() else { return };
    let key = ContentKey::from_bytes([1; 32]);
    let mut entry = sealed(&key, b"");
    entry.ciphertext = encrypt(&entry, &key, payload_len, frame);
    let mut opener = Opener::new();
    if let Ok(payload) = opener.open(&entry, &key) {
        assert_eq!(payload.len(), u32::from_le_bytes(*payload_len) as usize);
        assert!(payload.len() <= limits::PAYLOAD_BYTES_MAX);
        // Sealing megabytes for every input would only slow the search down.
        if payload.len() < 4096 {
            assert_eq!(opener.open(&sealed(&key, &payload), &key), Ok(payload));
        }
    }
});

fn sealed(key: &ContentKey, payload: &[u8]) -> SealedEntry {
    let keys = DeviceKeys::from_seeds([2; 32], [3; 32], [4; 32]);
    let scope = EpochSecret::from_bytes([5; 32]).scope_key(TableId::SCHEMA, None);
    let opening = StreamOpening::seal(key, BlindedTable::default(), &scope, &[]);
    let stream = StreamId { author: keys.author(), incarnation: IncarnationId::default(), lane: opening.lane_id() };
    let input = SealInput {
        workspace: WorkspaceId::default(),
        stream,
        sequence: SequenceNumber::new(1),
        previous: EntryHash::default(),
        frontier: Vec::new(),
        epoch: EpochId::default(),
        clock: Hlc::ZERO,
        opening: Some(opening),
        payload,
        content_key: key,
        keys: &keys,
        nonce: [6; 24],
    };
    Sealer::new().seal(input).expect("the payload is small")
}

fn encrypt(entry: &SealedEntry, key: &ContentKey, payload_len: &[u8; 4], frame: &[u8]) -> Vec<u8> {
    let nonce = [7; 24];
    let mut out = [&nonce[..], payload_len, &(frame.len() as u32).to_le_bytes(), frame].concat();
    out.resize(nonce.len() + padme(8 + frame.len()), 0);
    let tag = XChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
        .encrypt_in_place_detached(XNonce::from_slice(&nonce), &entry.header.associated_data(), &mut out[24..])
        .expect("the input is small");
    out.extend_from_slice(&tag);
    out
}

/// Pads as docs/FORMAT.md says.
fn padme(len: usize) -> usize {
    let exponent = len.ilog2();
    let mask = (1 << (exponent - (exponent.ilog2() + 1))) - 1;
    (len + mask) & !mask
}
