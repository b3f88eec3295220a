//! One sample of every format, committed under tests/fuzz/seeds: the fuzzer starts from them, and a change of a format that
//! old peers could not read shows here first.

use std::path::Path;

use kithdb_log::*;

const NOW: u64 = 1_800_000_000_000;

fn keys(seed: u8) -> DeviceKeys {
    DeviceKeys::from_seeds([seed; 32], [seed + 1; 32], [seed + 2; 32])
}

/// Returns a committed sample; writes it first when KITHDB_WRITE_SEEDS is set.
fn seed(target: &str, name: &str, made: &[u8]) -> Vec<u8> {
    let folder = Path::new("../../tests/fuzz/seeds").join(target);
    let path = folder.join(name);
    if std::env::var_os("KITHDB_WRITE_SEEDS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn check(target: &str, name: &str, made: &[u8]) {
    assert_eq!(seed(target, name, made), made, "the format of {target}/{name} has changed");
}

fn rows() -> (Vec<u8>, Hlc) {
    let table = TableId::derive("notes", 0);
    let author = keys(1).author();
    let incarnation = IncarnationId::from_bytes([5; 16]);
    let stamp = |tick: u64| Stamp { clock: Hlc::from_u64(1000 + tick), author, incarnation };
    let older = Stamp { clock: Hlc::from_u64(7), author: keys(9).author(), incarnation };
    let columns = ["title", "body"].map(|name| ColumnId::derive(table, name, 0)).to_vec();
    let values = [ValueRef::Text("Grüße".as_bytes()), ValueRef::Real(0.5)].map(ValueRef::to_encoded);
    let key = ValueRef::Integer(-1).to_encoded();
    let cell = |column: usize, stamp| CellRef { column, stamp, value: &values[column] };
    let operation = |tick, change, cells| Operation {
        stamp: stamp(tick),
        key: &key,
        generation: Generation::FIRST,
        origin: Origin::NATURAL,
        change,
        cells,
    };
    let mut writer = RowsWriter::new(table, columns);
    let sibling = Sibling { lane: LaneId::from_bytes([6; 32]), sequence: SequenceNumber::new(2), token: [7; 16] };
    writer.begin(&TransactionHead { clock: stamp(0).clock, continues_previous: false, siblings: vec![sibling] });
    let existing = vec![cell(0, Stamp::EXISTING), cell(1, Stamp::EXISTING)];
    writer.write(&Operation { stamp: Stamp::EXISTING, ..operation(0, Change::Insert, existing) });
    writer.write(&operation(0, Change::Insert, vec![cell(0, stamp(0)), cell(1, stamp(0))]));
    writer.write(&operation(5, Change::Update, vec![cell(1, stamp(5))]));
    writer.end(false);
    writer.begin(&TransactionHead { clock: stamp(9).clock, continues_previous: true, siblings: vec![] });
    let moved = vec![cell(0, older), cell(1, stamp(9))];
    let to = ValueRef::Blob(b"x").to_encoded();
    writer.write(&operation(9, Change::Move { to: &to, to_generation: Generation::FIRST }, moved));
    let (generation, origin) = (Generation::new(3), Origin::new(4));
    writer.write(&Operation { generation, origin, ..operation(10, Change::Delete, vec![]) });
    writer.end(true);
    (writer.finish(), stamp(10).clock)
}

fn entry(sequence: u64, payload: &[u8], clock: Hlc) -> SealedEntry {
    let (epoch, blinding) = (EpochSecret::from_bytes([10; 32]), BlindingSecret::from_bytes([11; 32]));
    let table = TableId::derive("notes", 0);
    let tags = [(blinding.blind_tag(table, "family"), epoch.scope_key(table, Some("family")))];
    let content_key = ContentKey::from_bytes([12; 32]);
    let opening = StreamOpening::seal(&content_key, blinding.blind_table(table), &epoch.scope_key(table, None), &tags);
    let incarnation = IncarnationId::from_bytes([5; 16]);
    seal(SealInput {
        workspace: WorkspaceId::from_bytes([13; 32]),
        stream: StreamId { author: keys(1).author(), incarnation, lane: opening.lane_id() },
        sequence: SequenceNumber::new(sequence),
        previous: EntryHash::from_bytes([if sequence == 1 { 0 } else { 14 }; 32]),
        frontier: vec![AdminHash::from_bytes([15; 32])],
        epoch: epoch.id(),
        clock,
        opening: (sequence == 1).then_some(opening),
        payload,
        content_key: &content_key,
        keys: &keys(1),
        nonce: [16; 24],
    })
    .unwrap()
}

#[test]
fn payloads_stay_as_they_are() {
    check("rows", "sample", &rows().0);
    let column = |name: &str, affinity| ColumnSchema {
        name: name.into(),
        earlier_uses: 0,
        affinity,
        collation: Collation::NoCase,
    };
    let schema = TableSchema {
        name: "notes".into(),
        earlier_uses: 1,
        sql: "CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)".into(),
        indexes: vec!["CREATE INDEX notes_body ON notes(body)".into()],
        columns: vec![column("id", Affinity::Integer), column("body", Affinity::Text)],
        key: vec![0],
        key_kind: KeyKind::Auto,
    };
    check("schema", "sample", &schema.encode());
    let values = [
        ValueRef::Null,
        ValueRef::Integer(i64::MIN),
        ValueRef::Real(-0.0),
        ValueRef::Text(b"text"),
        ValueRef::Blob(&[0, 255]),
        ValueRef::Reference(7, Origin::new(u64::MAX)),
    ];
    check("value", "sample", &values.map(ValueRef::to_encoded).concat());
}

#[test]
fn sealed_entries_stay_readable() {
    let (payload, clock) = rows();
    for (name, sequence) in [("first", 1), ("second", 2)] {
        let made = entry(sequence, &payload, clock);
        let committed = SealedEntry::decode(&seed("entry", name, &made.encode())).unwrap();
        // The compressor may come to choose other bytes; what it chose before must still open.
        committed.verify(made.header.workspace).unwrap();
        assert_eq!(open(&committed, &ContentKey::from_bytes([12; 32])).as_ref(), Ok(&payload));
        assert_eq!(committed.header.associated_data(), made.header.associated_data());
        check("entry", &format!("{name}-header"), &committed.header_bytes());
    }
    for (name, plain) in [("rows", &payload[..]), ("zeros", &[0; 70_000]), ("nothing", &[])] {
        let frame = zstd::bulk::compress(plain, 3).unwrap();
        let made = [&(plain.len() as u32).to_le_bytes()[..], &frame].concat();
        let committed = seed("plaintext", name, &made);
        assert_eq!(zstd::bulk::decompress(&committed[4..], plain.len()).unwrap(), plain);
    }
}

#[test]
fn admin_operations_tickets_and_key_files_stay_as_they_are() {
    let (owner, joiner) = (keys(1), keys(20));
    let (epoch, blinding) = (EpochSecret::from_bytes([10; 32]), BlindingSecret::from_bytes([11; 32]));
    let genesis = AdminOperation::genesis(&owner, epoch.id(), [30; 32], "laptop", NOW).unwrap();
    check("admin", "genesis", &genesis.encode());
    let workspace = genesis.workspace_id();
    let mut membership = Membership::from_genesis(workspace, genesis).unwrap();
    let secret = InviteSecret::from_bytes([31; 32]);
    let invite = membership.invite(&owner, secret.key(), Role::Writer, NOW + 1000, NOW).unwrap();
    check("admin", "invite", &invite.encode());
    membership.add(invite).unwrap();
    let request = secret.request(workspace, &joiner, "phone").unwrap();
    check("join_request", "sample", &request.encode());
    let wrapped = wrap_secrets(&epoch, &blinding, workspace, request.author, &request.exchange_key, [32; 32]).unwrap();
    let admit = membership.admit(&owner, &request, wrapped, NOW).unwrap();
    check("admin", "admit", &admit.encode());
    let ticket = Ticket {
        workspace,
        inviter: owner.author(),
        role: Role::Writer,
        secret,
        expires_unix_ms: NOW + 1000,
        addresses: vec!["/ip4/192.168.1.7/udp/4001/quic-v1".into()],
        frontier: membership.frontier(),
        epoch: epoch.id(),
    };
    let text = ticket.to_string();
    check("ticket", "sample", text.as_bytes());
    let content = data_encoding::BASE32_NOPAD.decode(text[5..].to_ascii_uppercase().as_bytes()).unwrap();
    check("ticket", "content", &content[3..content.len() - 6]);
    check("key_file", "sample", owner.encode_key_file().as_bytes());
}
