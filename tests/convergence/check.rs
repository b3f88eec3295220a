//! What must hold when nothing is left to tell: equal rows, equal parked lives, both as the model says, and a clean `verify`.

use std::collections::BTreeMap;

use kithdb_core::dump::ParkedLife;
use kithdb_core::merge::Reason;
use kithdb_core::registry::TableState;
use kithdb_core::replica::Replica;
use kithdb_log::{ColumnId, TableId, ValueRef};
use rusqlite::types::ValueRef as SqlRef;

use crate::model::{Expected, Hidden, Secrets, expect};
use crate::shapes::{SHAPES, Shape};
use crate::world::{Outcome, World, during};

/// How much was compared, so that a suite that tests nothing shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub entries: usize,
    pub shown: usize,
    pub past: usize,
    pub part_missing: usize,
    pub id_taken: usize,
    pub unique: usize,
    pub not_null: usize,
    pub violations: usize,
    /// Operations that were stranded and written anew.
    pub taken_back: usize,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.shown += other.shown;
        self.past += other.past;
        self.part_missing += other.part_missing;
        self.id_taken += other.id_taken;
        self.unique += other.unique;
        self.not_null += other.not_null;
        self.violations += other.violations;
        self.taken_back += other.taken_back;
    }

    fn count(&mut self, expected: &Expected) {
        self.shown += expected.shown.len();
        for (hidden, _) in expected.parked.values() {
            match hidden {
                Hidden::Past => self.past += 1,
                Hidden::PartMissing => self.part_missing += 1,
                Hidden::IdTaken => self.id_taken += 1,
                Hidden::Unique => self.unique += 1,
                Hidden::NotNull => self.not_null += 1,
            }
        }
    }
}

/// Checks all peers against each other and the model.
pub fn check(world: &mut World) -> Outcome<Tally> {
    let mut tally = world.midway;
    for index in 0..world.peers.len() {
        let replica = &mut world.peers[index].replica;
        tally.add(
            &check_alone(replica, &world.secrets, &world.tables, true)
                .map_err(|error| format!("peer {index}, {error}"))?,
        );
        for &table in &world.tables {
            let known = replica.registry().by_name(SHAPES[table].name);
            if known.is_none_or(|table| table.state != TableState::Synced) {
                return Err(format!("peer {index} does not sync {}", SHAPES[table].name));
            }
        }
    }
    for &table in &world.tables {
        let first = dump(&world.peers[0].replica, SHAPES[table].name)?;
        for (index, peer) in world.peers.iter().enumerate().skip(1) {
            let other = dump(&peer.replica, SHAPES[table].name)?;
            if other != first {
                return Err(format!("{}: peer 0 shows {first:#?}, peer {index} {other:#?}", SHAPES[table].name));
            }
        }
    }
    Ok(tally)
}

/// Checks one replica by itself: what it has merged so far must be what the model says; `fully` verifies too.
pub fn check_alone(replica: &mut Replica, secrets: &Secrets, tables: &[usize], fully: bool) -> Outcome<Tally> {
    let mut tally = Tally::default();
    for (table, expected) in &expect(replica, secrets, tables)? {
        let known = replica.registry().by_name(SHAPES[*table].name);
        if known.is_some_and(|table| table.state == TableState::Synced) {
            tally.count(expected);
            tally.violations += check_table(replica, &SHAPES[*table], expected)?;
        }
    }
    if fully {
        tally.entries += verify(replica)?;
    }
    Ok(tally)
}

fn verify(replica: &mut Replica) -> Outcome<usize> {
    let report = replica.verify(|_, _, _| {}).map_err(during("verifying"))?;
    match report.problems.first() {
        Some(problem) => Err(format!("verify finds {} problems: {problem}", report.problems.len())),
        None => Ok(report.entries as usize),
    }
}

/// Reads every column of every row, generated ones included, with its type.
fn dump(replica: &Replica, table: &str) -> Outcome<Vec<String>> {
    let conn = replica.conn();
    let mut columns = conn
        .prepare_cached("SELECT name FROM pragma_table_xinfo(?1) ORDER BY cid")
        .map_err(during("reading columns"))?;
    let columns: Vec<String> = columns
        .query_map([table], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect)
        .map_err(during("reading columns"))?;
    let parts: Vec<String> =
        columns.iter().map(|column| format!("typeof({column}) || ' ' || quote({column})")).collect();
    let sql = format!("SELECT {} AS line FROM {table} ORDER BY line", parts.join(" || ', ' || "));
    let mut select = conn.prepare(&sql).map_err(during("dumping"))?;
    select.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(during("dumping"))
}

fn check_table(replica: &Replica, shape: &Shape, expected: &Expected) -> Outcome<usize> {
    let shown = shown(replica, shape)?;
    if shown != expected.shown {
        let print =
            |rows: &[Vec<Vec<u8>>]| rows.iter().map(|row| format!("\n  {}", print_row(row))).collect::<String>();
        return Err(format!(
            "{}: the table shows{}\nbut should show{}",
            shape.name,
            print(&shown),
            print(&expected.shown)
        ));
    }
    let parked = replica.parked_dump(shape.name).map_err(during("listing what is parked"))?;
    check_parked(shape, &parked, expected)?;
    check_violations(replica, shape)
}

fn shown(replica: &Replica, shape: &Shape) -> Outcome<Vec<Vec<Vec<u8>>>> {
    let columns: Vec<&str> = shape.columns.iter().map(|column| column.name).collect();
    let mut select = replica
        .conn()
        .prepare(&format!("SELECT {} FROM {} NOT INDEXED", columns.join(", "), shape.name))
        .map_err(during("reading rows"))?;
    let rows = select.query_map([], |row| (0..columns.len()).map(|index| Ok(encode(row.get_ref(index)?))).collect());
    let mut rows: Vec<Vec<Vec<u8>>> = rows.and_then(Iterator::collect).map_err(during("reading rows"))?;
    rows.sort();
    Ok(rows)
}

fn encode(value: SqlRef<'_>) -> Vec<u8> {
    match value {
        SqlRef::Null => ValueRef::Null,
        SqlRef::Integer(number) => ValueRef::Integer(number),
        SqlRef::Real(number) => ValueRef::Real(number),
        SqlRef::Text(bytes) => ValueRef::Text(bytes),
        SqlRef::Blob(bytes) => ValueRef::Blob(bytes),
    }
    .to_encoded()
}

fn print_row(row: &[Vec<u8>]) -> String {
    row.iter().map(|value| print_value(value)).collect::<Vec<_>>().join(", ")
}

fn print_value(value: &[u8]) -> String {
    match ValueRef::decode_all(value) {
        Ok(ValueRef::Text(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

fn check_parked(shape: &Shape, parked: &[ParkedLife], expected: &Expected) -> Outcome<()> {
    let table = TableId::derive(shape.name, 0);
    let names: BTreeMap<ColumnId, &'static str> =
        shape.columns.iter().map(|column| (ColumnId::derive(table, column.name, 0), column.name)).collect();
    let mut left: BTreeMap<_, _> = expected.parked.iter().collect();
    for life in parked {
        let id = (life.key.clone(), life.origin, life.generation);
        let place =
            format!("{}: parked life {} of row {} (origin {:x})", shape.name, id.2, print_value(&id.0), id.1.get());
        let Some((hidden, should)) = left.remove(&id) else {
            return Err(format!("{place} should not be parked: {life:?}"));
        };
        let reason = match hidden {
            Hidden::Past => Reason::Past,
            Hidden::PartMissing => Reason::PartMissing,
            Hidden::IdTaken => Reason::IdTaken,
            Hidden::Unique => Reason::Unique,
            Hidden::NotNull => Reason::NotNull,
        };
        if life.reason != reason {
            return Err(format!("{place} is parked as {:?}, should be {reason:?}", life.reason));
        }
        let cells: BTreeMap<_, _> =
            life.cells.iter().map(|(column, stamp, value)| (names[column], (*stamp, value.clone()))).collect();
        let links = life.moved_to.iter().cloned().collect();
        let is = crate::model::Life { birth: life.birth, death: life.death, cells, links };
        if is != *should {
            return Err(format!("{place} is\n{is:?}\nbut should be\n{should:?}"));
        }
    }
    match left.pop_first() {
        None => Ok(()),
        Some((id, life)) => Err(format!(
            "{}: life {} of row {} (origin {:x}) should be parked: {life:?}",
            shape.name,
            id.2,
            print_value(&id.0),
            id.1.get()
        )),
    }
}

/// Every row that breaks the CHECK is listed, and no other; returns how many there are.
fn check_violations(replica: &Replica, shape: &Shape) -> Outcome<usize> {
    let Some(check) = shape.check else { return Ok(0) };
    let listed = "SELECT count(*) FROM kith__violations WHERE kind = 'check' AND table_num = (SELECT num FROM kith__tables WHERE name = ?1)";
    let listed: i64 = replica.conn().query_row(listed, [shape.name], |row| row.get(0)).map_err(during("counting"))?;
    let broken = format!("SELECT count(*) FROM {} WHERE NOT ({check})", shape.name);
    let broken: i64 = replica.conn().query_row(&broken, [], |row| row.get(0)).map_err(during("counting"))?;
    if listed == broken {
        Ok(broken as usize)
    } else {
        Err(format!("{}: {broken} rows break the CHECK, {listed} are listed", shape.name))
    }
}
