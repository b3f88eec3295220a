//! Entries that no SQL here would make, but that a member with another program could sign: lives out of turn, rows with parts
//! missing, moves in circles, NULL where none may be. They are well formed, so every replica must make the same of them.

use kithdb_core::replica::Replica;
use kithdb_log::{
    CellRef, Change, ColumnId, ContentKey, EntryHash, Generation, Hlc, IncarnationId, Operation, Origin, RowsWriter,
    SealInput, SealedEntry, SequenceNumber, Stamp, StreamId, StreamOpening, TableId, TransactionHead, ValueRef, seal,
};

use crate::model::Secrets;
use crate::rng::Rng;
use crate::shapes::{Column, Fill, Shape};
use crate::world::{Outcome, during};

fn text(bytes: &[u8]) -> Vec<u8> {
    ValueRef::Text(bytes).to_encoded()
}

fn number(number: i64) -> Vec<u8> {
    ValueRef::Integer(number).to_encoded()
}

/// A value as the column's key part has it, and one that a cell of the same column may have under that key.
fn key_value(rng: &mut Rng, fill: Fill) -> (Vec<u8>, Vec<u8>) {
    let same = |value: Vec<u8>| (value.clone(), value);
    match fill {
        Fill::CaseKey => [(text(b"ann"), text(b"Ann")), (text(b"ann"), text(b"ANN")), (text(b"bob"), text(b"bob"))]
            [rng.below(3)]
        .clone(),
        Fill::PadKey => {
            [(text(b"a"), text(b"a  ")), (text(b"a"), text(b"a")), (text(b"b"), text(b"b "))][rng.below(3)].clone()
        }
        Fill::IntKey => same(number(rng.between(1, 4))),
        Fill::AutoKey => same(number(rng.between(1, 3))),
        Fill::AnyKey => match rng.below(3) {
            0 => (number(1), ValueRef::Real(1.0).to_encoded()),
            1 => same(text(b"1")),
            _ => same(number(2)),
        },
        _ => same(text(*rng.pick(&[b"a", b"b", b"c"]))),
    }
}

fn cell_value(rng: &mut Rng, fill: Fill) -> Vec<u8> {
    if rng.chance(12) {
        return ValueRef::Null.to_encoded();
    }
    match fill {
        Fill::SmallInt | Fill::SmallIntNotNull | Fill::UniqueInt | Fill::IntKey => number(rng.between(1, 3)),
        Fill::Reference if rng.chance(50) => {
            ValueRef::Reference(rng.between(1, 3), Origin::new(rng.between(1, 2).unsigned_abs())).to_encoded()
        }
        Fill::Reference => number(rng.between(1, 3)),
        Fill::Text | Fill::TextNotNull => text(*rng.pick(&[b"p", b"q", b"r"])),
        Fill::CaseText => text(*rng.pick(&[b"x", b"X", b"y"])),
        Fill::Real => ValueRef::Real(*rng.pick(&[0.5, 1.0, -2.0])).to_encoded(),
        _ => match rng.below(4) {
            0 => ValueRef::Blob(b"\x00\xff").to_encoded(),
            1 => text(b"1"),
            2 => ValueRef::Real(1.0).to_encoded(),
            _ => number(1),
        },
    }
}

/// Draws a key and the cells that belong to it, each with its place among the cells.
fn draw_row(rng: &mut Rng, shape: &Shape, whole: bool) -> (Vec<u8>, Vec<(usize, Vec<u8>)>) {
    let mut parts: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut cells = Vec::new();
    for (place, column) in shape.columns.iter().filter(|column| column.is_cell).enumerate() {
        if column.key.is_none() && (whole || rng.chance(60)) {
            cells.push((place, cell_value(rng, column.fill)));
        }
    }
    for column in shape.columns {
        if let Some(part) = column.key {
            let (key, cell) = key_value(rng, column.fill);
            parts.push((part, key));
            let place = shape.columns.iter().filter(|known| known.is_cell).position(|known| known.name == column.name);
            if let Some(place) = place.filter(|_| whole || rng.chance(60)) {
                cells.push((place, cell));
            }
        }
    }
    parts.sort();
    cells.sort();
    (parts.into_iter().flat_map(|(_, part)| part).collect(), cells)
}

/// Tells whether an entry of this stream was forged here.
pub fn is_forged(stream: &StreamId) -> bool {
    stream.incarnation.as_bytes()[8..] == [0; 8]
}

/// Makes an entry of a stream of its own, signed by the replica's device.
pub fn entry(replica: &Replica, secrets: &Secrets, shape: &Shape, now_unix_ms: u64, seed: u64) -> Outcome<SealedEntry> {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let table = TableId::derive(shape.name, 0);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&rng.next().to_le_bytes());
    let incarnation = IncarnationId::from_bytes(bytes);
    let author = replica.author();
    let columns: Vec<&Column> = shape.columns.iter().filter(|column| column.is_cell).collect();
    let ids = columns.iter().map(|column| ColumnId::derive(table, column.name, 0)).collect();
    let mut writer = RowsWriter::new(table, ids);
    let mut clock = Hlc::from_ms(now_unix_ms);
    let is_auto = shape.columns.iter().any(|column| column.fill == Fill::AutoKey);
    writer.begin(&TransactionHead { clock, continues_previous: false, siblings: Vec::new() });
    let is_bad = rng.chance(10);
    for _ in 0..1 + rng.below(5) {
        let stamp = Stamp { clock, author, incarnation };
        let kind = rng.below(4);
        let whole = rng.chance(70);
        let (key, mut cells) = draw_row(rng, shape, whole);
        let (to, moved) = draw_row(rng, shape, whole);
        let origin = if is_auto { Origin::new(1 + rng.next() % 2) } else { Origin::NATURAL };
        let generations = [1, 1, 1, 3, 5];
        let generation = Generation::new(*rng.pick(&generations));
        let change = match kind {
            0 => Change::Insert,
            1 => Change::Update,
            2 => Change::Delete,
            _ => Change::Move { to: &to, to_generation: Generation::new(*rng.pick(&generations)) },
        };
        match kind {
            2 => cells.clear(),
            3 => cells = moved,
            _ => {}
        }
        if let Some((place, value)) = cells.last_mut().filter(|_| is_bad) {
            // What SQLite would convert, or what contradicts the key: such an entry is refused, by everybody.
            *value = if columns[*place].key.is_some() { text(b"other") } else { ValueRef::Real(3.0).to_encoded() };
        }
        let older = if kind == 3 && rng.chance(50) { Stamp::EXISTING } else { stamp };
        let cells = cells.iter().map(|(column, value)| CellRef { column: *column, stamp: older, value }).collect();
        writer.write(&Operation { stamp, key: &key, generation, origin, change, cells });
        clock = clock.checked_add(1).ok_or("the clock is at its end")?;
    }
    writer.end(false);
    let clock = writer.last_clock();
    let blinded = secrets.blinding.blind_table(table);
    let content_key = ContentKey::from_bytes([rng.next() as u8; 32]);
    let opening = StreamOpening::seal(&content_key, blinded, &secrets.epoch.scope_key(table, None), &[]);
    seal(SealInput {
        workspace: replica.workspace().id(),
        stream: StreamId { author, incarnation, lane: opening.lane_id() },
        sequence: SequenceNumber::new(1),
        previous: EntryHash::default(),
        frontier: replica.membership().frontier_for(author),
        epoch: secrets.epoch.id(),
        clock,
        opening: Some(opening),
        payload: &writer.finish(),
        content_key: &content_key,
        keys: replica.workspace().keys(),
        nonce: [rng.next() as u8; 24],
    })
    .map_err(during("sealing a forged entry"))
}
