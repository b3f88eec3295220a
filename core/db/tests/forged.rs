//! What a member with a program of its own can sign, and what it cannot do with that to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kithdb_core::apply::{ApplyBudget, ApplyReport};
use kithdb_core::join::JoinOptions;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_core::sources::Entropy;
use kithdb_log::{
    AdminBody, CellRef, Change, ColumnId, ContentKey, EntryHash, Generation, Hlc, IncarnationId, Operation, Role,
    RowsWriter, SealInput, SealedEntry, SequenceNumber, Stamp, StreamId, StreamOpening, TableId, TransactionHead,
    ValueRef, seal, unwrap_secrets,
};

const NOW: u64 = 1_800_000_000_000;

fn options(seed: u64) -> OpenOptions {
    let now = AtomicU64::new(NOW + seed);
    let clock = Arc::new(move || now.fetch_add(1, Ordering::Relaxed));
    OpenOptions { entropy: Entropy::seeded(seed), clock, ..OpenOptions::default() }
}

/// A founder with a table `t(id TEXT PRIMARY KEY, a)`, and a member that is told everything.
fn pair() -> (Replica, Replica) {
    let mut one = Replica::open_memory(InitOptions { device_name: "one".into(), open: options(1) }).unwrap();
    let ticket = one.invite(Role::Writer, NOW * 2, Vec::new()).unwrap();
    let join = JoinOptions { open: options(2), ..JoinOptions::new("two") };
    let pending = Replica::prepare_join_memory(&ticket, join).unwrap();
    one.admit(&pending.request().unwrap(), NOW).unwrap();
    let operations: Vec<_> = one.membership().operations().cloned().collect();
    let mut two = pending.complete(&operations).unwrap();
    one.execute_batch(
        "CREATE TABLE t(id TEXT PRIMARY KEY, a); SELECT kith_sync('t'); INSERT INTO t VALUES('x', 'first')",
    )
    .unwrap();
    tell(&mut one, &mut two);
    (one, two)
}

fn tell(from: &mut Replica, to: &mut Replica) {
    while from.seal(SealBudget::default()).unwrap().more {}
    for stream in from.sync_state().unwrap().streams {
        to.store_entries(&from.load_entries(&stream.id, SequenceNumber::new(1), usize::MAX).unwrap()).unwrap();
    }
    let report = to.apply_stored(ApplyBudget::default()).unwrap();
    assert!(report.refused.is_empty(), "{report:?}");
}

fn take(replica: &mut Replica, entry: &SealedEntry) -> ApplyReport {
    replica.store_entries(std::slice::from_ref(entry)).unwrap();
    replica.apply_stored(ApplyBudget::default()).unwrap()
}

fn shown(replica: &mut Replica) -> Vec<String> {
    replica.query("SELECT id || '=' || a FROM t ORDER BY id", [], |row| row.get(0)).unwrap()
}

fn key(text: &str) -> Vec<u8> {
    ValueRef::Text(text.as_bytes()).to_encoded()
}

/// Signs one write to row `x` with a member's keys, in a stream of its own.
fn forge(member: &Replica, number: u8, clock: Hlc, generation: Generation, change: Change<'_>) -> SealedEntry {
    let membership = member.membership();
    let admitted = membership.get(member.author()).unwrap().admitted;
    let AdminBody::Admit { wrapped, .. } = &membership.operation(&admitted).unwrap().body else {
        panic!("not admitted")
    };
    let (keys, workspace) = (member.workspace().keys(), member.workspace().id());
    let (epoch, blinding) = unwrap_secrets(wrapped, keys, workspace, membership.epoch()).unwrap();

    let table = TableId::derive("t", 0);
    let (author, incarnation) = (member.author(), IncarnationId::from_bytes([number; 16]));
    let stamp = Stamp { clock, author, incarnation };
    let mut writer = RowsWriter::new(table, vec![ColumnId::derive(table, "a", 0)]);
    writer.begin(&TransactionHead { clock, continues_previous: false, siblings: Vec::new() });
    let value = key("forged");
    let cells = match change {
        Change::Delete => Vec::new(),
        _ => vec![CellRef { column: 0, stamp, value: &value }],
    };
    writer.write(&Operation { stamp, key: &key("x"), generation, change, cells, ..Operation::default() });
    writer.end(false);
    let content_key = ContentKey::from_bytes([number; 32]);
    let opening = StreamOpening::seal(&content_key, blinding.blind_table(table), &epoch.scope_key(table, None), &[]);
    seal(SealInput {
        workspace,
        stream: StreamId { author, incarnation, lane: opening.lane_id() },
        sequence: SequenceNumber::new(1),
        previous: EntryHash::default(),
        frontier: membership.frontier_for(author),
        epoch: epoch.id(),
        clock,
        opening: Some(opening),
        payload: &writer.finish(),
        content_key: &content_key,
        keys,
        nonce: [number; 24],
    })
    .unwrap()
}

#[test]
fn lives_that_cannot_be_there_by_their_clock_are_refused_and_named() {
    let (mut one, two) = pair();
    let clock = Hlc::from_ms(NOW + 1000);
    let greatest = Generation::greatest_at(clock);
    let beyond = greatest.next_life();
    let to = key("y");
    let forged = [
        forge(&two, 1, clock, beyond, Change::Insert),
        forge(&two, 2, clock, beyond, Change::Delete),
        forge(&two, 3, clock, Generation::FIRST, Change::Move { to: &to, to_generation: beyond }),
        forge(&two, 4, clock, Generation::new(u64::MAX), Change::Update),
    ];
    for (entry, found) in forged.iter().zip([beyond, beyond, beyond, Generation::new(u64::MAX)]) {
        let report = take(&mut one, entry);
        assert_eq!(report.entries, 0, "{report:?}");
        let reason = &report.refused[0].reason;
        assert!(reason.ends_with(&format!("generation is {found}, above the limit of {greatest}")), "{reason}");
    }
    assert_eq!(shown(&mut one), ["x=first"]);
    assert!(one.verify(|_, _, _| {}).unwrap().is_clean());
}

#[test]
fn member_that_writes_the_greatest_life_there_is_does_not_keep_others_from_the_next() {
    let (mut one, mut two) = pair();
    for round in 1..4 {
        // So far ahead of the others' clocks that their next write is one tick later.
        let clock = Hlc::from_ms(NOW + u64::from(round) * 60_000);
        let entry = forge(&two, round, clock, Generation::greatest_at(clock), Change::Delete);
        assert_eq!(take(&mut one, &entry).entries, 1);
        assert_eq!(take(&mut two, &entry).entries, 1);
        assert_eq!(shown(&mut one), Vec::<String>::new());
        one.execute("INSERT INTO t VALUES('x', ?1)", [round]).unwrap();
        tell(&mut one, &mut two);
        for replica in [&mut one, &mut two] {
            assert_eq!(shown(replica), [format!("x={round}")]);
            let report = replica.verify(|_, _, _| {}).unwrap();
            assert!(report.is_clean(), "{report:?}");
        }
    }
}
