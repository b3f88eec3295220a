//! The state that a set of entries means, worked out the plain way: all operations in memory, one rule after the other, nothing
//! incremental. It shares no code with the merge of kithdb-core; of kithdb-log it uses opening and reading entries, and ids.

use std::collections::{BTreeMap, BTreeSet};

use kithdb_core::replica::Replica;
use kithdb_log::{
    AdminBody, BlindingSecret, Change, ColumnId, EpochSecret, Generation, Hlc, LaneId, Opener, Operation, Origin,
    PayloadContext, Reader, RowsReader, SealedEntry, SequenceNumber, Stamp, Step, TableId, TableSchema, ValueRef,
    unwrap_secrets,
};

use crate::shapes::{Row, SHAPES, Shape, Value};
use crate::world::{Outcome, during, with_status};

/// The secrets of a workspace, as any member can unwrap them.
pub struct Secrets {
    pub epoch: EpochSecret,
    pub blinding: BlindingSecret,
}

impl Secrets {
    /// Unwraps the secrets that a member was handed when it was admitted.
    pub fn of_member(replica: &Replica) -> Outcome<Self> {
        let membership = replica.membership();
        let member = membership.get(replica.author()).ok_or("not a member")?;
        let Some(AdminBody::Admit { wrapped, .. }) =
            membership.operation(&member.admitted).map(|operation| &operation.body)
        else {
            return Err("not admitted".to_owned());
        };
        let (keys, id) = (replica.workspace().keys(), replica.workspace().id());
        let (epoch, blinding) =
            unwrap_secrets(wrapped, keys, id, membership.epoch()).map_err(during("unwrapping the secrets"))?;
        Ok(Self { epoch, blinding })
    }

    fn lane(&self, table: TableId) -> LaneId {
        BlindingSecret::lane_id(&self.blinding.blind_table(table), &[])
    }
}

/// One life of a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Life {
    pub birth: Option<Stamp>,
    pub death: Option<Stamp>,
    pub cells: BTreeMap<&'static str, (Stamp, Vec<u8>)>,
    pub links: BTreeSet<(Vec<u8>, Generation)>,
}

/// Names a life.
pub type LifeId = (Vec<u8>, Origin, Generation);

/// Why a life is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    Past,
    PartMissing,
    IdTaken,
    Unique,
    NotNull,
}

/// What a table should hold.
#[derive(Debug, Default)]
pub struct Expected {
    /// Shown rows: the encoded values of the stored columns, in the order of the shape.
    pub shown: Vec<Vec<Vec<u8>>>,
    pub parked: BTreeMap<LifeId, (Hidden, Life)>,
}

/// All lives of one table.
#[derive(Debug, Default)]
struct Lives(BTreeMap<LifeId, Life>);

impl Life {
    fn write(&mut self, column: &'static str, stamp: Stamp, value: &[u8]) {
        let new = (stamp, value.to_vec());
        match self.cells.get(column) {
            Some(old) if *old >= new => {}
            _ => {
                self.cells.insert(column, new);
            }
        }
    }
}

impl Lives {
    fn write(&mut self, id: &LifeId, column: &'static str, stamp: Stamp, value: &[u8]) {
        self.0.entry(id.clone()).or_default().write(column, stamp, value);
    }

    fn bear(&mut self, id: &LifeId, stamp: Stamp) {
        let life = self.0.entry(id.clone()).or_default();
        life.birth = Some(life.birth.map_or(stamp, |known| known.min(stamp)));
    }

    fn end(&mut self, id: &LifeId, stamp: Stamp) {
        let life = self.0.entry(id.clone()).or_default();
        life.death = life.death.max(Some(stamp));
    }

    fn add(&mut self, operation: &Operation<'_>, columns: &[&'static str]) {
        let id = (operation.key.to_vec(), operation.origin, operation.generation);
        let mut target = id.clone();
        match operation.change {
            Change::Insert => self.bear(&id, operation.stamp),
            Change::Update => {
                self.0.entry(id).or_default();
            }
            Change::Delete => self.end(&id, operation.stamp),
            Change::Move { to, to_generation } => {
                self.end(&id, operation.stamp);
                self.0.entry(id).or_default().links.insert((to.to_vec(), to_generation));
                target = (to.to_vec(), operation.origin, to_generation);
                self.bear(&target, operation.stamp);
            }
        }
        for cell in &operation.cells {
            self.write(&target, columns[cell.column], cell.stamp, cell.value);
        }
    }

    /// Copies what was written to moved rows after them, again and again until nothing is new.
    fn follow_moves(&mut self, shape: &Shape) {
        loop {
            let before = self.0.clone();
            for (id, life) in &before {
                for (key, generation) in &life.links {
                    let target = (key.clone(), id.1, *generation);
                    for (column, (stamp, value)) in &life.cells {
                        let is_key = shape.columns.iter().any(|known| known.name == *column && known.key.is_some());
                        if !is_key {
                            self.write(&target, column, *stamp, value);
                        }
                    }
                }
            }
            if self.0 == before {
                return;
            }
        }
    }

    fn expect(mut self, shape: &Shape) -> Expected {
        self.follow_moves(shape);
        let mut expected = Expected::default();
        let mut candidates: Vec<(LifeId, Life)> = Vec::new();
        for (id, life) in &self.0 {
            let is_latest = !self.0.keys().any(|other| other.0 == id.0 && other.1 == id.1 && other.2 > id.2);
            let is_complete = life.birth.is_some()
                && life.cells.len() == shape.columns.iter().filter(|column| column.is_cell).count();
            if !is_latest || life.death.is_some() {
                expected.parked.insert(id.clone(), (Hidden::Past, life.clone()));
            } else if !is_complete {
                expected.parked.insert(id.clone(), (Hidden::PartMissing, life.clone()));
            } else {
                candidates.push((id.clone(), life.clone()));
            }
        }
        // Of rows born apart under one number the earliest keeps it.
        let mut holders: BTreeMap<Vec<u8>, (Stamp, Origin)> = BTreeMap::new();
        for (id, life) in &candidates {
            let rank = (life.birth.unwrap_or_default(), id.1);
            let holder = holders.entry(id.0.clone()).or_insert(rank);
            *holder = rank.min(*holder);
        }
        let (mut ranked, mut others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(id, _)| holders[&id.0].1 == id.1);
        for (id, life) in others.drain(..) {
            expected.parked.insert(id, (Hidden::IdTaken, life));
        }
        let claim = |life: &Life| shape.claims.iter().map(|column| life.cells[column].0).max().unwrap_or_default();
        ranked.sort_by_key(|(id, life)| (claim(life), id.0.clone(), id.1));
        let mut taken: BTreeSet<(usize, String)> = BTreeSet::new();
        for (id, life) in ranked {
            let row = row_of(shape, &id.0, &life);
            if shape.not_null.iter().any(|column| row[column] == Value::Null) {
                expected.parked.insert(id, (Hidden::NotNull, life));
                continue;
            }
            let entries = (shape.unique)(&row);
            let claims: Vec<(usize, String)> =
                entries.into_iter().enumerate().filter_map(|(index, entry)| Some((index, entry?))).collect();
            if claims.iter().any(|claim| taken.contains(claim)) {
                expected.parked.insert(id, (Hidden::Unique, life));
                continue;
            }
            taken.extend(claims);
            expected.shown.push(shape.columns.iter().map(|column| encode(&row[column.name])).collect());
        }
        expected.shown.sort();
        expected
    }
}

fn row_of(shape: &Shape, key: &[u8], life: &Life) -> Row {
    let mut parts = Vec::new();
    let mut reader = Reader::new(key);
    while !reader.is_empty() {
        match ValueRef::decode(&mut reader) {
            Ok(value) => parts.push(plain(value)),
            Err(_) => break,
        }
    }
    let mut row = Row::new();
    for column in shape.columns {
        let value = match (life.cells.get(column.name), column.key) {
            (Some((_, value)), _) => ValueRef::decode_all(value).map(plain).unwrap_or(Value::Null),
            (None, Some(place)) => parts[place].clone(),
            (None, None) => Value::Null,
        };
        row.insert(column.name, value);
    }
    row
}

fn plain(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) | ValueRef::Reference(number, _) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(bytes.to_vec()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

fn encode(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Real(number) => ValueRef::Real(*number),
        Value::Text(bytes) => ValueRef::Text(bytes),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    }
    .to_encoded()
}

/// Reads every entry that a replica has merged and works out what each table should hold.
pub fn expect(replica: &Replica, secrets: &Secrets, tables: &[usize]) -> Outcome<BTreeMap<usize, Expected>> {
    let unmerged = with_status(replica, "<> 1")?;
    let mut lives: BTreeMap<usize, Lives> = tables.iter().map(|&table| (table, Lives::default())).collect();
    let schema_lane = secrets.lane(TableId::SCHEMA);
    let lanes: BTreeMap<LaneId, usize> =
        tables.iter().map(|&table| (secrets.lane(TableId::derive(SHAPES[table].name, 0)), table)).collect();
    let mut opener = Opener::new();
    for stream in replica.sync_state().map_err(during("reading the log"))?.streams {
        let entries =
            replica.load_entries(&stream.id, SequenceNumber::new(1), usize::MAX).map_err(during("reading the log"))?;
        let table = lanes.get(&stream.id.lane).copied();
        if table.is_none() && stream.id.lane != schema_lane {
            return Err("an entry of an unknown lane".to_owned());
        }
        let scope = table.map_or(TableId::SCHEMA, |table| TableId::derive(SHAPES[table].name, 0));
        let key = entries[0]
            .header
            .opening
            .as_ref()
            .ok_or("a stream without opening")?
            .open(&secrets.epoch.scope_key(scope, None), &entries[0].header.key_commitment)
            .map_err(during("reading the log"))?;
        let mut after = Hlc::ZERO;
        for entry in &entries {
            let payload = opener.open(entry, &key).map_err(during("reading the log"))?;
            match table {
                _ if unmerged.contains(&(stream.id, entry.header.sequence)) => {}
                None => {
                    TableSchema::decode(&payload).map_err(during("reading the log"))?;
                }
                Some(table) => {
                    let lives = lives.get_mut(&table).ok_or("an unknown table")?;
                    read_rows(entry, &payload, after, &SHAPES[table], lives)?;
                }
            }
            after = entry.header.clock;
        }
    }
    Ok(lives.into_iter().map(|(table, lives)| (table, lives.expect(&SHAPES[table]))).collect())
}

fn read_rows(entry: &SealedEntry, payload: &[u8], after: Hlc, shape: &Shape, lives: &mut Lives) -> Outcome<()> {
    let header = &entry.header;
    let context = PayloadContext {
        author: header.stream.author,
        incarnation: header.stream.incarnation,
        after,
        up_to: header.clock,
    };
    let mut reader = RowsReader::open(payload, context).map_err(during("reading the log"))?;
    let table = TableId::derive(shape.name, 0);
    let named: BTreeMap<ColumnId, &'static str> =
        shape.columns.iter().map(|column| (ColumnId::derive(table, column.name, 0), column.name)).collect();
    let columns: Vec<&'static str> = reader
        .columns()
        .iter()
        .map(|id| named.get(id).copied().ok_or("an unknown column"))
        .collect::<Result<_, _>>()?;
    let mut operation = Operation::default();
    loop {
        match reader.next(&mut operation).map_err(during("reading the log"))? {
            Step::Begin(_) | Step::End(_) => {}
            Step::Operation => lives.add(&operation, &columns),
            Step::Finished => return Ok(()),
        }
    }
}
