//! The sealed entry as a stranger meets it: one encoding, and no change of it goes unnoticed.

use kithdb_log::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Keeps cases that failed beside this file.
fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as _);
    ProptestConfig { failure_persistence, ..ProptestConfig::default() }
}

fn keys() -> DeviceKeys {
    DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32])
}

fn workspace() -> WorkspaceId {
    WorkspaceId::from_bytes([4; 32])
}

fn content_key() -> ContentKey {
    ContentKey::from_bytes([5; 32])
}

fn scope_key() -> ScopeKey {
    EpochSecret::from_bytes([6; 32]).scope_key(TableId::derive("notes", 0), None)
}

fn opening(tags: &[&str]) -> StreamOpening {
    let (epoch, blinding) = (EpochSecret::from_bytes([6; 32]), BlindingSecret::from_bytes([7; 32]));
    let table = TableId::derive("notes", 0);
    let tags: Vec<_> =
        tags.iter().map(|tag| (blinding.blind_tag(table, tag), epoch.scope_key(table, Some(tag)))).collect();
    StreamOpening::seal(&content_key(), blinding.blind_table(table), &scope_key(), &tags)
}

fn sealed(sequence: u64, tags: &[&str], payload: &[u8]) -> SealedEntry {
    let opening = opening(tags);
    let stream =
        StreamId { author: keys().author(), incarnation: IncarnationId::from_bytes([8; 16]), lane: opening.lane_id() };
    seal(SealInput {
        workspace: workspace(),
        stream,
        sequence: SequenceNumber::new(sequence),
        previous: if sequence == 1 { EntryHash::default() } else { EntryHash::from_bytes([9; 32]) },
        frontier: vec![AdminHash::from_bytes([10; 32]), AdminHash::from_bytes([11; 32])],
        epoch: EpochSecret::from_bytes([6; 32]).id(),
        clock: Hlc::from_ms(1_800_000_000_000),
        opening: (sequence == 1).then_some(opening),
        payload,
        content_key: &content_key(),
        keys: &keys(),
        nonce: [12; 24],
    })
    .unwrap()
}

/// Takes in an entry as a peer would.
fn receive(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let entry = SealedEntry::decode(bytes).map_err(|error| error.to_string())?;
    assert_eq!(entry.encode(), bytes, "two encodings of one entry");
    assert_eq!(entry.byte_len(), bytes.len());
    entry.verify(workspace()).map_err(|error| error.to_string())?;
    open(&entry, &content_key()).map_err(|error| error.to_string())
}

#[test]
fn entry_comes_back() {
    for entry in [sealed(1, &[], b"one"), sealed(1, &["b", "a"], b"two"), sealed(2, &["a"], b"three")] {
        let back = SealedEntry::decode(&entry.encode()).unwrap();
        assert_eq!(back, entry);
        assert_eq!(EntryHeader::decode(&entry.header_bytes()), Ok(entry.header.clone()));
        assert_eq!(back.hash(), entry.hash());
    }
    assert_eq!(receive(&sealed(1, &["a"], b"payload").encode()).as_deref(), Ok(&b"payload"[..]));
}

#[test]
fn every_flipped_bit_is_refused() {
    for entry in [sealed(1, &["a", "b"], b"the payload"), sealed(2, &[], b"the payload")] {
        let mut bytes = entry.encode();
        assert!(receive(&bytes).is_ok());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(receive(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let bytes = sealed(1, &["a"], b"the payload").encode();
    for len in 0..bytes.len() {
        assert!(SealedEntry::decode(&bytes[..len]).is_err(), "{len}");
    }
    assert!(SealedEntry::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn other_members_signature_is_refused() {
    let mallory = DeviceKeys::from_seeds([20; 32], [21; 32], [22; 32]);
    let entry = sealed(1, &[], b"payload");
    // Mallory signs Alice's header: with the entry domain, and with any other.
    for domain in ["kithdb 2026 entry signature v1", "kithdb 2026 admin signature v1"] {
        let signature = mallory.sign(domain, &entry.header_bytes());
        let forged = SealedEntry { signature, ..entry.clone() };
        assert_eq!(forged.verify(workspace()), Err(EntryError::Signature { author: keys().author() }));
    }
    // Mallory takes Alice's entry for her own.
    let mut stolen = entry.clone();
    stolen.header.stream.author = mallory.author();
    stolen.signature = mallory.sign("kithdb 2026 entry signature v1", &stolen.header_bytes());
    assert_eq!(stolen.verify(workspace()), Ok(()), "whoever signs may say so");
    assert_eq!(open(&stolen, &content_key()), Err(OpenError::Forged), "but the ciphertext is bound to Alice");
    // Alice's signature of something else.
    let signature = keys().sign("kithdb 2026 admin signature v1", &entry.header_bytes());
    assert!(SealedEntry { signature, ..entry }.verify(workspace()).is_err());
}

#[test]
fn small_order_author_is_refused() {
    let mut entry = sealed(1, &[], b"payload");
    let mut one = [0; 32];
    one[0] = 1;
    entry.header.stream.author = AuthorId::from_bytes(one);
    let mut signature = [0; 64];
    signature[0] = 1;
    entry.signature = Signature::from_bytes(signature);
    assert!(matches!(entry.verify(workspace()), Err(EntryError::Signature { .. })));
}

#[test]
fn replay_into_another_workspace_lane_epoch_or_place_is_refused() {
    let entry = sealed(2, &[], b"payload");
    let elsewhere = WorkspaceId::from_bytes([99; 32]);
    assert_eq!(
        entry.verify(elsewhere),
        Err(EntryError::Workspace { found: workspace(), expected: elsewhere }),
        "as it is"
    );
    let changes: [fn(&mut EntryHeader); 7] = [
        |header| header.workspace = WorkspaceId::from_bytes([99; 32]),
        |header| header.stream.lane = LaneId::from_bytes([99; 32]),
        |header| header.stream.incarnation = IncarnationId::from_bytes([99; 16]),
        |header| header.epoch = EpochId::from_bytes([99; 32]),
        |header| header.sequence = SequenceNumber::new(3),
        |header| header.clock = Hlc::from_ms(1),
        |header| header.frontier = vec![],
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut replayed = entry.clone();
        change(&mut replayed.header);
        assert!(replayed.verify(replayed.header.workspace).is_err(), "the signature covers field {index}");
        assert_eq!(open(&replayed, &content_key()), Err(OpenError::Forged), "so does the cipher, field {index}");
    }
}

#[test]
fn opening_of_another_lane_is_refused() {
    let mut entry = sealed(1, &["a"], b"payload");
    entry.header.opening = Some(opening(&["b"]));
    entry.signature = keys().sign("kithdb 2026 entry signature v1", &entry.header_bytes());
    assert_eq!(entry.verify(workspace()), Err(EntryError::Lane { lane: entry.header.stream.lane }));
}

#[test]
fn swapped_ciphertexts_are_refused() {
    let (one, mut two) = (sealed(1, &[], b"payload 1"), sealed(1, &[], b"payload 2"));
    two.ciphertext = one.ciphertext;
    assert_eq!(two.verify(workspace()), Err(EntryError::Ciphertext));
}

#[test]
fn content_key_opens_for_the_table_and_for_each_tag() {
    let header = sealed(1, &["b", "a"], b"payload").header;
    let (epoch, blinding) = (EpochSecret::from_bytes([6; 32]), BlindingSecret::from_bytes([7; 32]));
    let table = TableId::derive("notes", 0);
    let opening = header.opening.unwrap();
    assert_eq!(opening.open(&scope_key(), &header.key_commitment), Ok(content_key()));
    for tag in ["a", "b"] {
        let key = epoch.scope_key(table, Some(tag));
        let blinded = blinding.blind_tag(table, tag);
        assert_eq!(opening.open_with_tag(&blinded, &key, &header.key_commitment), Ok(content_key()));
        assert_eq!(opening.open(&key, &header.key_commitment), Err(OpenSlotError));
    }
    let other = blinding.blind_tag(table, "c");
    assert_eq!(opening.open_with_tag(&other, &scope_key(), &header.key_commitment), Err(OpenSlotError));
}

#[test]
fn headers_that_break_the_rules_are_neither_sealed_nor_decoded() {
    let entry = sealed(1, &["a", "b"], b"payload");
    let hash = |byte| AdminHash::from_bytes([byte; 32]);
    let changes: [&dyn Fn(&mut EntryHeader); 9] = [
        &|header| header.sequence = SequenceNumber::new(0),
        &|header| header.sequence = SequenceNumber::new(2),
        &|header| header.previous = EntryHash::from_bytes([1; 32]),
        &|header| header.frontier = vec![hash(2), hash(1)],
        &|header| header.frontier = vec![hash(1), hash(1)],
        &|header| header.frontier = (0..17).map(hash).collect(),
        &|header| header.opening = None,
        &|header| header.opening.as_mut().unwrap().tags.reverse(),
        &|header| header.ciphertext_len = u32::MAX,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut broken = entry.clone();
        change(&mut broken.header);
        assert!(broken.header.check().is_err(), "{index}");
        assert!(EntryHeader::decode(&broken.header_bytes()).is_err(), "{index}");
        assert!(matches!(broken.verify(workspace()), Err(EntryError::Header(_))), "{index}");
    }
}

fn headers() -> impl Strategy<Value = EntryHeader> {
    let hashes = proptest::collection::btree_set(any::<[u8; 32]>(), 0..=16);
    let opening = (any::<[u8; 32]>(), proptest::collection::btree_set(any::<[u8; 32]>(), 0..=16), any::<u8>());
    let opening = opening.prop_map(|(table, tags, slot)| StreamOpening {
        table: BlindedTable::from_bytes(table),
        slots: vec![KeySlot::from_bytes([slot; 48]); tags.len() + 1],
        tags: tags.into_iter().map(BlindedTag::from_bytes).collect(),
    });
    let numbers = (prop_oneof![Just(1u64), 2..=u64::MAX], any::<u64>(), 0u32..=100 << 20, any::<bool>());
    (any::<[[u8; 32]; 7]>(), hashes, opening, numbers).prop_map(|(ids, frontier, opening, numbers)| {
        let (sequence, clock, ciphertext_len, opens) = numbers;
        EntryHeader {
            workspace: WorkspaceId::from_bytes(ids[0]),
            stream: StreamId {
                author: AuthorId::from_bytes(ids[1]),
                incarnation: IncarnationId::from_bytes([ids[1][0]; 16]),
                lane: LaneId::from_bytes(ids[2]),
            },
            sequence: SequenceNumber::new(sequence),
            previous: if sequence == 1 { EntryHash::default() } else { EntryHash::from_bytes(ids[3]) },
            frontier: frontier.into_iter().map(AdminHash::from_bytes).collect(),
            epoch: EpochId::from_bytes(ids[4]),
            key_commitment: KeyCommitment::from_bytes(ids[5]),
            clock: Hlc::from_u64(clock),
            ciphertext_len,
            ciphertext_hash: ids[6],
            opening: (sequence == 1 || opens).then_some(opening),
        }
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn headers_come_back(header in headers()) {
        let bytes = header.encode();
        prop_assert!(bytes.len() <= limits::HEADER_BYTES_MAX);
        prop_assert_eq!(EntryHeader::decode(&bytes), Ok(header));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(header in headers(), at: prop::sample::Index, with: u8) {
        let mut bytes = header.encode();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(decoded) = EntryHeader::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }

    #[test]
    fn payloads_come_back(payload: Vec<u8>) {
        let bytes = sealed(1, &[], &payload).encode();
        prop_assert_eq!(receive(&bytes), Ok(payload));
    }
}
