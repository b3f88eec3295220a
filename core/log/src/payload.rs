//! The plaintext of an entry: the parts of one or more transactions that fall into one lane.
//!
//! Layout (all numbers LEB128 unless a width is given; docs/FORMAT.md has the table):
//! `version u8 | kind u8 = 0 | table id 16 | columns n, n x 16 | carried authors n, n x (32 + 16)`, then transactions to the
//! end: `flags | clock (first: absolute, then the distance from the last clock) | [siblings] | operations | end marker`.
//!
//! Invariants:
//! 1. Clocks grow strictly through a payload and stay within the bounds the entry header gives.
//! 2. A decoder allocates no more than the payload it was given plus the columns' table.
//! 3. No operation names a life that cannot be there by its clock ([`Generation::greatest_at`]), so that nobody uses up a key's lives.
//! 4. A payload that decodes is the one that [`RowsWriter`] writes for what was decoded.

use crate::clock::Hlc;
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::ids::{AuthorId, ColumnId, Generation, IncarnationId, LaneId, Origin, SequenceNumber, TableId};
use crate::limits::{CARRIED_AUTHORS_MAX, COLUMNS_MAX, FORMAT_VERSION, KEY_BYTES_MAX, SIBLINGS_MAX};
use crate::operation::{CellRef, Change, Operation};
use crate::stamp::Stamp;
use crate::value::ValueRef;

pub(crate) const KIND_ROWS: u8 = 0;
pub(crate) const KIND_SCHEMA: u8 = 1;

const INSERT: u8 = 0;
const UPDATE: u8 = 1;
const DELETE: u8 = 2;
const MOVE: u8 = 3;
const END: u8 = 7;
const KIND_MASK: u8 = 0b111;
const CLOCK_GIVEN: u8 = 1 << 3;
const GENERATION_GIVEN: u8 = 1 << 4;
const ORIGIN_GIVEN: u8 = 1 << 5;
const ALL_COLUMNS: u8 = 1 << 6;
const EXISTING: u8 = 1 << 7;
const END_CONTINUES: u8 = END | CLOCK_GIVEN;

const HAS_SIBLINGS: u64 = 1;
const CONTINUES_PREVIOUS: u64 = 2;

/// Another lane's part of the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sibling {
    /// The lane of the other part.
    pub lane: LaneId,
    /// The entry of the same author and incarnation that ends the other part.
    pub sequence: SequenceNumber,
    /// Proves the link to whoever can read the other lane.
    pub token: [u8; 16],
}

/// The head of one transaction's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionHead {
    /// The first clock of the whole transaction; with author and incarnation it names the transaction.
    pub clock: Hlc,
    /// Whether the part began in the previous entry of the stream.
    pub continues_previous: bool,
    /// The other lanes the transaction wrote to.
    pub siblings: Vec<Sibling>,
}

/// Writes the payload of a lane of rows.
#[derive(Debug)]
pub struct RowsWriter {
    table: TableId,
    columns: Vec<ColumnId>,
    authors: Vec<(AuthorId, IncarnationId)>,
    body: Vec<u8>,
    last: Hlc,
}

impl RowsWriter {
    /// Starts a payload; `columns` fixes the indexes that operations use.
    pub fn new(table: TableId, columns: Vec<ColumnId>) -> Self {
        Self { table, columns, authors: Vec::new(), body: Vec::new(), last: Hlc::ZERO }
    }

    /// Returns the size so far, in bytes.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Tells whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Returns the greatest clock written.
    pub const fn last_clock(&self) -> Hlc {
        self.last
    }

    /// Begins a transaction's part.
    pub fn begin(&mut self, head: &TransactionHead) {
        let mut flags = 0;
        if !head.siblings.is_empty() {
            flags |= HAS_SIBLINGS;
        }
        if head.continues_previous {
            flags |= CONTINUES_PREVIOUS;
        }
        put_varint(&mut self.body, flags);
        put_varint(&mut self.body, head.clock.as_u64().saturating_sub(self.last.as_u64()));
        if !head.siblings.is_empty() {
            put_varint(&mut self.body, head.siblings.len() as u64);
            for sibling in &head.siblings {
                self.body.extend_from_slice(sibling.lane.as_bytes());
                put_varint(&mut self.body, sibling.sequence.get());
                self.body.extend_from_slice(&sibling.token);
            }
        }
        self.last = Hlc::from_u64(head.clock.as_u64().saturating_sub(1));
    }

    /// Writes one operation; clocks must grow, and an existing row's operation keeps the clock where it is.
    pub fn write(&mut self, operation: &Operation<'_>) {
        let existing = operation.stamp == Stamp::EXISTING;
        let delta = operation.stamp.clock.as_u64().saturating_sub(self.last.as_u64());
        let all = !matches!(operation.change, Change::Delete | Change::Move { .. })
            && operation.cells.len() == self.columns.len();
        let mut head = match operation.change {
            Change::Insert => INSERT,
            Change::Update => UPDATE,
            Change::Delete => DELETE,
            Change::Move { .. } => MOVE,
        };
        if existing {
            head |= EXISTING;
        } else if delta != 1 {
            head |= CLOCK_GIVEN;
        }
        if operation.generation != Generation::FIRST {
            head |= GENERATION_GIVEN;
        }
        if operation.origin != Origin::NATURAL {
            head |= ORIGIN_GIVEN;
        }
        if all {
            head |= ALL_COLUMNS;
        }
        self.body.push(head);
        if !existing {
            if delta != 1 {
                put_varint(&mut self.body, delta);
            }
            self.last = operation.stamp.clock;
        }
        put_bytes(&mut self.body, operation.key);
        if operation.generation != Generation::FIRST {
            put_varint(&mut self.body, operation.generation.get());
        }
        if operation.origin != Origin::NATURAL {
            self.body.extend_from_slice(&operation.origin.get().to_le_bytes());
        }
        match operation.change {
            Change::Insert | Change::Update if all => {
                for cell in &operation.cells {
                    self.body.extend_from_slice(cell.value);
                }
            }
            Change::Insert | Change::Update => {
                put_varint(&mut self.body, operation.cells.len() as u64);
                for cell in &operation.cells {
                    put_varint(&mut self.body, cell.column as u64);
                    self.body.extend_from_slice(cell.value);
                }
            }
            Change::Delete => {}
            Change::Move { to, to_generation } => {
                put_bytes(&mut self.body, to);
                put_varint(&mut self.body, to_generation.get());
                put_varint(&mut self.body, operation.cells.len() as u64);
                for cell in &operation.cells {
                    put_varint(&mut self.body, cell.column as u64);
                    self.body.extend_from_slice(cell.value);
                    self.write_carried_stamp(operation, &cell.stamp);
                }
            }
        }
    }

    fn write_carried_stamp(&mut self, operation: &Operation<'_>, stamp: &Stamp) {
        if *stamp == operation.stamp {
            put_varint(&mut self.body, 0);
        } else if *stamp == Stamp::EXISTING {
            put_varint(&mut self.body, 1);
        } else {
            let author = (stamp.author, stamp.incarnation);
            let index = self.authors.iter().position(|known| *known == author).unwrap_or_else(|| {
                self.authors.push(author);
                self.authors.len() - 1
            });
            put_varint(&mut self.body, index as u64 + 2);
            put_varint(&mut self.body, stamp.clock.as_u64());
        }
    }

    /// Ends the transaction's part, or leaves it to go on in the next entry of the stream.
    pub fn end(&mut self, continues: bool) {
        self.body.push(if continues { END_CONTINUES } else { END });
    }

    /// Returns the finished payload.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 64 + self.columns.len() * 16);
        out.push(FORMAT_VERSION);
        out.push(KIND_ROWS);
        out.extend_from_slice(self.table.as_bytes());
        put_varint(&mut out, self.columns.len() as u64);
        for column in &self.columns {
            out.extend_from_slice(column.as_bytes());
        }
        put_varint(&mut out, self.authors.len() as u64);
        for (author, incarnation) in &self.authors {
            out.extend_from_slice(author.as_bytes());
            out.extend_from_slice(incarnation.as_bytes());
        }
        out.extend_from_slice(&self.body);
        out
    }
}

/// Where an entry sits: who signed it and between which clocks its stamps must be.
#[derive(Debug, Clone, Copy)]
pub struct PayloadContext {
    /// The signer.
    pub author: AuthorId,
    /// The life of the signer's file.
    pub incarnation: IncarnationId,
    /// The greatest clock of the stream's previous entry: every stamp must be above it.
    pub after: Hlc,
    /// The greatest clock of this entry: no stamp may be above it.
    pub up_to: Hlc,
}

/// What [`RowsReader::next`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A transaction's part begins.
    Begin(TransactionHead),
    /// An operation was read into the buffer.
    Operation,
    /// The transaction's part ends; with `true` it goes on in the stream's next entry.
    End(bool),
    /// The payload is at its end.
    Finished,
}

/// Reads the payload of a lane of rows.
#[derive(Debug)]
pub struct RowsReader<'a> {
    context: PayloadContext,
    table: TableId,
    columns: Vec<ColumnId>,
    authors: Vec<(AuthorId, IncarnationId)>,
    /// How many of `authors` have been named: they stand in the order of their first use.
    authors_used: usize,
    reader: Reader<'a>,
    last: Hlc,
    inside: bool,
}

/// Tells which kind of payload the bytes are; refuses other versions.
pub(crate) fn read_kind(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let version = reader.byte("payload version")?;
    if version != FORMAT_VERSION {
        return Err(DecodeError::Unknown { what: "payload version", value: u64::from(version) });
    }
    reader.byte("payload kind")
}

/// Tells whether a payload holds schema operations rather than rows.
pub fn is_schema(payload: &[u8]) -> Result<bool, DecodeError> {
    match read_kind(&mut Reader::new(payload))? {
        KIND_ROWS => Ok(false),
        KIND_SCHEMA => Ok(true),
        kind => Err(DecodeError::Unknown { what: "payload kind", value: u64::from(kind) }),
    }
}

impl<'a> RowsReader<'a> {
    /// Reads the payload's tables and stops before the first transaction.
    pub fn open(payload: &'a [u8], context: PayloadContext) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let kind = read_kind(&mut reader)?;
        if kind != KIND_ROWS {
            return Err(DecodeError::Unknown { what: "payload kind", value: u64::from(kind) });
        }
        let table = TableId::from_bytes(reader.array("table id")?);
        let count = reader.count(COLUMNS_MAX, "number of columns")?;
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(ColumnId::from_bytes(reader.array("column id")?));
        }
        let mut sorted = columns.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::NotCanonical { what: "list of columns" });
        }
        let count = reader.count(CARRIED_AUTHORS_MAX, "number of carried authors")?;
        let mut authors = Vec::new();
        for _ in 0..count {
            let author = AuthorId::from_bytes(reader.array("carried author")?);
            authors.push((author, IncarnationId::from_bytes(reader.array("carried incarnation")?)));
        }
        let mut sorted = authors.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::NotCanonical { what: "list of carried authors" });
        }
        Ok(Self { context, table, columns, authors, authors_used: 0, reader, last: Hlc::ZERO, inside: false })
    }

    /// Returns the table the rows belong to.
    pub const fn table(&self) -> TableId {
        self.table
    }

    /// Returns the columns that operations name by index.
    pub fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    /// Returns the authors whose older stamps are carried along.
    pub fn carried_authors(&self) -> &[(AuthorId, IncarnationId)] {
        &self.authors
    }

    /// Reads on; operations land in `operation`, whose cells are reused.
    pub fn next(&mut self, operation: &mut Operation<'a>) -> Result<Step, DecodeError> {
        if !self.inside {
            if self.reader.is_empty() {
                if self.authors_used != self.authors.len() {
                    return Err(DecodeError::NotCanonical { what: "list of carried authors" });
                }
                return Ok(Step::Finished);
            }
            return self.begin().map(Step::Begin);
        }
        let head = self.reader.byte("operation")?;
        if head & KIND_MASK == END {
            self.inside = false;
            return match head {
                END => Ok(Step::End(false)),
                END_CONTINUES => Ok(Step::End(true)),
                _ => Err(DecodeError::Unknown { what: "operation", value: u64::from(head) }),
            };
        }
        self.operation(head, operation)?;
        Ok(Step::Operation)
    }

    fn begin(&mut self) -> Result<TransactionHead, DecodeError> {
        let flags = self.reader.varint("transaction flags")?;
        if flags & !(HAS_SIBLINGS | CONTINUES_PREVIOUS) != 0 {
            return Err(DecodeError::Unknown { what: "transaction flags", value: flags });
        }
        let first = self.last == Hlc::ZERO;
        let delta = self.reader.varint("transaction clock")?;
        let clock = self.last.checked_add(delta).ok_or(DecodeError::NotCanonical { what: "transaction clock" })?;
        // A part that goes on in a new entry keeps its transaction's first clock, so only later parts must grow.
        if !first && delta == 0 {
            return Err(DecodeError::NotCanonical { what: "transaction clock" });
        }
        let mut siblings = Vec::new();
        if flags & HAS_SIBLINGS != 0 {
            for _ in 0..self.reader.count(SIBLINGS_MAX, "number of siblings")? {
                siblings.push(Sibling {
                    lane: LaneId::from_bytes(self.reader.array("sibling lane")?),
                    sequence: SequenceNumber::new(self.reader.varint("sibling sequence")?),
                    token: self.reader.array("sibling token")?,
                });
            }
            if siblings.is_empty() {
                return Err(DecodeError::NotCanonical { what: "number of siblings" });
            }
        }
        self.last = Hlc::from_u64(clock.as_u64().saturating_sub(1));
        self.inside = true;
        Ok(TransactionHead { clock, continues_previous: flags & CONTINUES_PREVIOUS != 0, siblings })
    }

    fn operation(&mut self, head: u8, operation: &mut Operation<'a>) -> Result<(), DecodeError> {
        let reader = &mut self.reader;
        operation.cells.clear();
        operation.stamp = if head & EXISTING != 0 {
            if head & (KIND_MASK | CLOCK_GIVEN) != INSERT {
                return Err(DecodeError::Unknown { what: "operation", value: u64::from(head) });
            }
            Stamp::EXISTING
        } else {
            let given = head & CLOCK_GIVEN != 0;
            let delta = if given { reader.varint("clock")? } else { 1 };
            let clock = self.last.checked_add(delta).filter(|_| delta > u64::from(given));
            let clock = clock.ok_or(DecodeError::NotCanonical { what: "clock" })?;
            if clock <= self.context.after || clock > self.context.up_to {
                return Err(DecodeError::NotCanonical { what: "clock of an operation" });
            }
            self.last = clock;
            Stamp { clock, author: self.context.author, incarnation: self.context.incarnation }
        };
        operation.key = reader.bytes(KEY_BYTES_MAX, "key")?;
        operation.generation = if head & GENERATION_GIVEN != 0 {
            Generation::new(reader.varint("generation")?)
        } else {
            Generation::FIRST
        };
        let given = head & GENERATION_GIVEN != 0;
        if !operation.generation.is_live() || given == (operation.generation == Generation::FIRST) {
            return Err(DecodeError::NotCanonical { what: "generation" });
        }
        operation.origin = Origin::NATURAL;
        if head & ORIGIN_GIVEN != 0 {
            operation.origin = Origin::new(u64::from_le_bytes(reader.array("origin")?));
            if operation.origin == Origin::NATURAL {
                return Err(DecodeError::NotCanonical { what: "origin" });
            }
        }
        let own = operation.stamp;
        match head & KIND_MASK {
            kind @ (INSERT | UPDATE) => {
                operation.change = if kind == INSERT { Change::Insert } else { Change::Update };
                if head & ALL_COLUMNS != 0 {
                    for column in 0..self.columns.len() {
                        let value = ValueRef::skip(reader)?;
                        operation.cells.push(CellRef { column, stamp: own, value });
                    }
                } else {
                    self.cells(operation, false)?;
                    if operation.cells.len() == self.columns.len() {
                        return Err(DecodeError::NotCanonical { what: "number of cells" });
                    }
                }
            }
            DELETE | MOVE if head & ALL_COLUMNS != 0 => {
                return Err(DecodeError::Unknown { what: "operation", value: u64::from(head) });
            }
            DELETE => operation.change = Change::Delete,
            MOVE => {
                let to = reader.bytes(KEY_BYTES_MAX, "key")?;
                let to_generation = Generation::new(reader.varint("generation")?);
                if !to_generation.is_live() {
                    return Err(DecodeError::NotCanonical { what: "generation" });
                }
                operation.change = Change::Move { to, to_generation };
                self.cells(operation, true)?;
            }
            _ => return Err(DecodeError::Unknown { what: "operation", value: u64::from(head) }),
        }
        operation.check_generations()
    }

    fn cells(&mut self, operation: &mut Operation<'a>, carried: bool) -> Result<(), DecodeError> {
        let count = self.reader.count(self.columns.len(), "number of cells")?;
        let mut next_column = 0;
        for _ in 0..count {
            let column = self.reader.count(self.columns.len(), "column")?;
            if column < next_column || column >= self.columns.len() {
                return Err(DecodeError::NotCanonical { what: "order of cells" });
            }
            next_column = column + 1;
            let value = ValueRef::skip(&mut self.reader)?;
            let stamp = if carried { self.carried_stamp(operation.stamp)? } else { operation.stamp };
            operation.cells.push(CellRef { column, stamp, value });
        }
        Ok(())
    }

    fn carried_stamp(&mut self, own: Stamp) -> Result<Stamp, DecodeError> {
        let code = self.reader.varint("carried stamp")?;
        match code {
            0 => Ok(own),
            1 => Ok(Stamp::EXISTING),
            _ => {
                let index = usize::try_from(code - 2).ok().filter(|index| *index <= self.authors_used);
                let &(author, incarnation) = index
                    .and_then(|index| self.authors.get(index))
                    .ok_or(DecodeError::Unknown { what: "carried author", value: code - 2 })?;
                self.authors_used = self.authors_used.max((code - 1) as usize);
                let clock = Hlc::from_u64(self.reader.varint("carried clock")?);
                if clock > self.context.up_to || clock == Hlc::ZERO {
                    return Err(DecodeError::NotCanonical { what: "carried clock" });
                }
                let stamp = Stamp { clock, author, incarnation };
                if stamp == own {
                    return Err(DecodeError::NotCanonical { what: "carried stamp" });
                }
                Ok(stamp)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> PayloadContext {
        PayloadContext {
            author: AuthorId::from_bytes([1; 32]),
            incarnation: IncarnationId::from_bytes([2; 16]),
            after: Hlc::from_u64(10),
            up_to: Hlc::from_u64(1000),
        }
    }

    fn own(clock: u64) -> Stamp {
        Stamp { clock: Hlc::from_u64(clock), author: context().author, incarnation: context().incarnation }
    }

    fn sample() -> Vec<u8> {
        let table = TableId::derive("t", 0);
        let columns = vec![ColumnId::derive(table, "a", 0), ColumnId::derive(table, "b", 0)];
        let mut writer = RowsWriter::new(table, columns);
        let (one, two) = (ValueRef::Integer(1).to_encoded(), ValueRef::Text(b"two").to_encoded());
        let other = Stamp {
            clock: Hlc::from_u64(7),
            author: AuthorId::from_bytes([9; 32]),
            incarnation: IncarnationId::default(),
        };
        let cell = |column, stamp, value| CellRef { column, stamp, value };
        let sibling = Sibling { lane: LaneId::from_bytes([3; 32]), sequence: SequenceNumber::new(4), token: [5; 16] };
        writer.begin(&TransactionHead { clock: Hlc::from_u64(20), continues_previous: false, siblings: vec![sibling] });
        writer.write(&Operation {
            stamp: Stamp::EXISTING,
            key: b"k0",
            generation: Generation::FIRST,
            cells: vec![cell(0, Stamp::EXISTING, &one), cell(1, Stamp::EXISTING, &two)],
            ..Operation::default()
        });
        writer.write(&Operation {
            stamp: own(20),
            key: b"k1",
            generation: Generation::FIRST,
            cells: vec![cell(0, own(20), &one), cell(1, own(20), &two)],
            ..Operation::default()
        });
        writer.write(&Operation {
            stamp: own(25),
            key: b"k1",
            generation: Generation::new(3),
            origin: Origin::new(77),
            change: Change::Update,
            cells: vec![cell(1, own(25), &two)],
        });
        writer.end(false);
        writer.begin(&TransactionHead { clock: Hlc::from_u64(30), continues_previous: true, siblings: vec![] });
        writer.write(&Operation {
            stamp: own(30),
            key: b"k1",
            generation: Generation::FIRST,
            change: Change::Delete,
            ..Operation::default()
        });
        writer.write(&Operation {
            stamp: own(31),
            key: b"k2",
            generation: Generation::FIRST,
            change: Change::Move { to: b"k3", to_generation: Generation::new(5) },
            cells: vec![cell(0, other, &one), cell(1, own(31), &two)],
            ..Operation::default()
        });
        writer.end(true);
        assert_eq!(writer.last_clock(), Hlc::from_u64(31));
        writer.finish()
    }

    fn read(payload: &[u8], context: PayloadContext) -> Result<Vec<String>, DecodeError> {
        let mut reader = RowsReader::open(payload, context)?;
        let mut operation = Operation::default();
        let mut out = Vec::new();
        loop {
            match reader.next(&mut operation)? {
                Step::Begin(head) => out.push(format!(
                    "begin {} {} {}",
                    head.clock.as_u64(),
                    head.continues_previous,
                    head.siblings.len()
                )),
                Step::Operation => out.push(format!(
                    "{:?} {} g{} o{} {:?} {}",
                    String::from_utf8_lossy(operation.key),
                    operation.stamp.clock.as_u64(),
                    operation.generation,
                    operation.origin,
                    operation.change,
                    operation.cells.len()
                )),
                Step::End(continues) => out.push(format!("end {continues}")),
                Step::Finished => return Ok(out),
            }
        }
    }

    #[test]
    fn payload_comes_back() {
        let lines = read(&sample(), context()).unwrap();
        assert_eq!(
            lines,
            [
                "begin 20 false 1",
                "\"k0\" 0 g1 o0 Insert 2",
                "\"k1\" 20 g1 o0 Insert 2",
                "\"k1\" 25 g3 o77 Update 1",
                "end false",
                "begin 30 true 0",
                "\"k1\" 30 g1 o0 Delete 0",
                "\"k2\" 31 g1 o0 Move { to: [107, 51], to_generation: Generation(5) } 2",
                "end true",
            ]
        );
    }

    /// Reads a payload and writes what was read.
    fn rewrite(payload: &[u8], context: PayloadContext) -> Result<Vec<u8>, DecodeError> {
        let mut reader = RowsReader::open(payload, context)?;
        let mut writer = RowsWriter::new(reader.table(), reader.columns().to_vec());
        let mut operation = Operation::default();
        loop {
            match reader.next(&mut operation)? {
                Step::Begin(head) => writer.begin(&head),
                Step::Operation => writer.write(&operation),
                Step::End(continues) => writer.end(continues),
                Step::Finished => return Ok(writer.finish()),
            }
        }
    }

    #[test]
    fn every_flip_of_a_bit_is_refused_or_writes_back_the_same() {
        let mut payload = sample();
        assert_eq!(rewrite(&payload, context()).as_ref(), Ok(&payload));
        for bit in 0..payload.len() * 8 {
            payload[bit / 8] ^= 1 << (bit % 8);
            if let Ok(written) = rewrite(&payload, context()) {
                assert_eq!(written, payload, "bit {bit}");
            }
            payload[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn stamps_outside_the_entrys_clocks_are_refused() {
        let late = PayloadContext { up_to: Hlc::from_u64(30), ..context() };
        let early = PayloadContext { after: Hlc::from_u64(20), ..context() };
        assert!(read(&sample(), late).is_err());
        assert!(read(&sample(), early).is_err());
    }

    fn one_operation(operation: &Operation<'_>) -> Vec<u8> {
        let mut writer = RowsWriter::new(TableId::derive("t", 0), Vec::new());
        writer.begin(&TransactionHead { clock: Hlc::from_u64(20), continues_previous: false, siblings: vec![] });
        writer.write(operation);
        writer.end(false);
        writer.finish()
    }

    #[test]
    fn lives_that_cannot_be_there_by_their_clock_are_refused() {
        let greatest = Generation::greatest_at(Hlc::from_u64(20));
        assert_eq!(greatest, Generation::new(41));
        let lives = |stamp, generation, to_generation| {
            let change = match to_generation {
                None => Change::Insert,
                Some(to_generation) => Change::Move { to: b"to", to_generation },
            };
            let operation = Operation { stamp, key: b"k", generation, change, ..Operation::default() };
            let read = read(&one_operation(&operation), context()).map(|_| ());
            assert_eq!(read, operation.check_generations());
            read
        };
        let too_great = |size, max| Err(DecodeError::TooLarge { what: "generation", size, max });
        assert_eq!(lives(own(20), greatest, None), Ok(()));
        assert_eq!(lives(own(20), greatest.next_life(), None), too_great(43, 41));
        assert_eq!(lives(own(20), greatest, Some(greatest)), Ok(()));
        assert_eq!(lives(own(20), greatest.next_life(), Some(Generation::FIRST)), too_great(43, 41));
        assert_eq!(lives(own(20), Generation::FIRST, Some(Generation::new(u64::MAX))), too_great(u64::MAX, 41));
        assert_eq!(lives(Stamp::EXISTING, Generation::FIRST, None), Ok(()));
        assert_eq!(lives(Stamp::EXISTING, Generation::new(3), None), too_great(3, 1));
    }

    #[test]
    fn every_truncation_is_refused_or_ends_at_a_transaction() {
        let payload = sample();
        for len in 0..payload.len() {
            if let Ok(lines) = read(&payload[..len], context()) {
                assert!(lines.is_empty() || lines.last().unwrap().starts_with("end"), "{len}: {lines:?}");
            }
        }
    }
}
