//! What anyone may look at in SQL: `kith_tables`, `kith_lanes`, `kith_streams`, `kith_entries`, `kith_members`, `kith_peers` and
//! `kith_conflicts`, with names of devices and times that people can read.
//!
//! Each is a read-only table that exists on every connection of a replica without being in its schema; its rows are read when a
//! query begins.
//!
//! Invariants:
//! 1. Nothing here writes, and nothing shows a secret.
//! 2. What a damaged record would hide is shown as damaged; one bad record never hides the others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use kithdb_log::{
    AdminBody, AuthorId, BlindingSecret, EntryHeader, Hlc, IncarnationId, LaneId, Membership, Signature, Stamp,
    TableId, ValueRef, WorkspaceId,
};
use rusqlite::types::Value;
use rusqlite::vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, ffi};

use crate::catalog::{self, Catalog};
use crate::changes::iso_time;
use crate::later;
use crate::merge::{Authors, Reason, parked};
use crate::registry::{TableInfo, TableState};
use crate::storage::get_meta;
use crate::verify::display_key;
use crate::workspace::{Workspace, load_membership};
use kithdb_search::sql::{hex, quote};

type Rows = Vec<Vec<Value>>;

/// One inspection table.
struct Inspection {
    name: &'static CStr,
    columns: &'static CStr,
    read: fn(&Look<'_>) -> rusqlite::Result<Rows>,
}

const INSPECTIONS: [Inspection; 7] = [
    Inspection {
        name: c"kith_tables",
        columns: c"CREATE TABLE x(name TEXT, state TEXT, reason TEXT, primary_key TEXT, key_kind TEXT, lane TEXT, rows_before_sync TEXT, parked_rows INTEGER, writes_by_others INTEGER, num INTEGER)",
        read: tables,
    },
    Inspection {
        name: c"kith_lanes",
        columns: c"CREATE TABLE x(table_name TEXT, lane TEXT, streams INTEGER, entries INTEGER, last_written_at TEXT)",
        read: lanes,
    },
    Inspection {
        name: c"kith_streams",
        columns: c"CREATE TABLE x(device TEXT, table_name TEXT, height INTEGER, last_written_at TEXT, is_own INTEGER, is_open INTEGER, head TEXT, lane TEXT, incarnation TEXT, device_id TEXT)",
        read: streams,
    },
    Inspection {
        name: c"kith_entries",
        columns: c"CREATE TABLE x(arrival INTEGER, device TEXT, table_name TEXT, sequence INTEGER, status TEXT, note TEXT, written_at TEXT, received_at TEXT, bytes INTEGER, device_id TEXT)",
        read: entries,
    },
    Inspection {
        name: c"kith_members",
        columns: c"CREATE TABLE x(device TEXT, role TEXT, admitted_at TEXT, admitted_by TEXT, is_this_device INTEGER, device_id TEXT)",
        read: members,
    },
    Inspection {
        name: c"kith_peers",
        columns: c"CREATE TABLE x(replica TEXT, told_up_to INTEGER, entries_to_tell INTEGER)",
        read: peers,
    },
    Inspection {
        name: c"kith_conflicts",
        columns: c"CREATE TABLE x(table_name TEXT, row_key TEXT, kind TEXT, reason TEXT, device TEXT, written_at TEXT, row_values TEXT, id INTEGER)",
        read: conflicts,
    },
];

/// What the inspection tables read with: the database and what turns hashes into names.
struct Look<'c> {
    conn: &'c Connection,
    catalog: Catalog,
    schema_lane: LaneId,
    membership: Option<Membership>,
    own: AuthorId,
}

impl<'c> Look<'c> {
    fn new(conn: &'c Connection, blinding: &BlindingSecret) -> rusqlite::Result<Self> {
        let workspace = get_meta::<[u8; 32]>(conn, "workspace")?.map(WorkspaceId::from_bytes);
        // A damaged membership is for `kith verify`; here devices go without names.
        let membership = workspace.and_then(|workspace| load_membership(conn, workspace).ok());
        Ok(Self {
            conn,
            catalog: catalog::load(conn, blinding)?,
            schema_lane: catalog::lane_of(blinding, TableId::SCHEMA),
            membership,
            own: get_meta::<[u8; 32]>(conn, "author")?.map(AuthorId::from_bytes).unwrap_or_default(),
        })
    }

    fn device(&self, author: AuthorId) -> Value {
        let member = self.membership.as_ref().and_then(|membership| membership.get(author));
        Value::Text(member.map_or_else(|| author.short(), |member| member.name.clone()))
    }

    fn table_of(&self, lane: &LaneId) -> Value {
        if *lane == self.schema_lane {
            return text("(table definitions)");
        }
        self.catalog.registry.by_lane(lane).map_or(Value::Null, |table| Value::Text(table.name.clone()))
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn time(clock: Hlc) -> Value {
    if clock == Hlc::ZERO { Value::Null } else { text(iso_time(clock.unix_ms())) }
}

fn clock(packed: i64) -> Hlc {
    Hlc::from_u64(packed.cast_unsigned())
}

/// Adds the inspection tables to a connection.
pub(crate) fn register(conn: &Connection, workspace: &Workspace) -> rusqlite::Result<()> {
    const MODULE: Module<'_, InspectionTable> = Module::eponymous_only_module();
    for inspection in &INSPECTIONS {
        conn.create_module(inspection.name, &MODULE, Some((inspection, workspace.blinding.clone())))?;
    }
    Ok(())
}

fn tables(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let counts = |sql: &str| -> rusqlite::Result<HashMap<u32, i64>> {
        look.conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let parked = counts("SELECT table_num, count(*) FROM kith_parked WHERE reason > 0 GROUP BY 1")?;
    let dirty = counts("SELECT table_num, count(*) FROM kith__dirty GROUP BY 1")?;
    let uptake = counts("SELECT num, uptake IS NOT NULL FROM kith__tables")?;
    let count = |counts: &HashMap<u32, i64>, table: &TableInfo| counts.get(&table.num).copied().unwrap_or(0);
    let row = |table: &TableInfo| {
        let key: Vec<_> = table.key.iter().map(|&column| table.columns[column].name.as_str()).collect();
        let reason = look.catalog.quarantined.iter().find(|(num, _)| *num == table.num);
        let state = match table.state {
            TableState::Synced => "synced",
            TableState::Unsynced => "unsynced",
            TableState::Quarantined => "quarantined",
        };
        let before = match (table.existing_rows, count(&uptake, table) != 0) {
            (_, true) => text("being taken up"),
            (true, false) => text("taken up"),
            (false, false) => Value::Null,
        };
        vec![
            text(&table.name),
            text(state),
            reason.map_or(Value::Null, |(_, reason)| text(reason)),
            text(key.join(", ")),
            text(if table.is_auto() { "auto" } else { "natural" }),
            text(table.lane.to_string()),
            before,
            count(&parked, table).into(),
            count(&dirty, table).into(),
            i64::from(table.num).into(),
        ]
    };
    let left_out = later::left_out(look.conn)?.into_iter().map(|(table, reason)| {
        let mut row = vec![text(table), text("left out"), text(reason)];
        row.extend([Value::Null, Value::Null, Value::Null, Value::Null, 0.into(), 0.into(), Value::Null]);
        row
    });
    Ok(look.catalog.registry.tables().iter().map(|table| row(table)).chain(left_out).collect())
}

fn lanes(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let mut statement = look.conn.prepare(
        "SELECT lane, count(*), sum(height), max(clock) FROM kith__streams GROUP BY lane ORDER BY max(clock)",
    )?;
    let rows = statement.query_map([], |row| {
        let lane = LaneId::from_bytes(row.get(0)?);
        Ok(vec![look.table_of(&lane), text(lane.to_string()), row.get(1)?, row.get(2)?, time(clock(row.get(3)?))])
    })?;
    rows.collect()
}

fn streams(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let present = get_meta::<[u8; 16]>(look.conn, "incarnation")?.map(IncarnationId::from_bytes);
    let mut statement = look.conn.prepare(
        "SELECT a.author, a.incarnation, s.lane, s.height, s.head, s.clock
         FROM kith__streams s JOIN kith__authors a ON a.num = s.author ORDER BY s.num",
    )?;
    let rows = statement.query_map([], |row| {
        let author = AuthorId::from_bytes(row.get(0)?);
        let incarnation = IncarnationId::from_bytes(row.get(1)?);
        let lane = LaneId::from_bytes(row.get(2)?);
        let head: Vec<u8> = row.get(4)?;
        let is_own = author == look.own;
        Ok(vec![
            look.device(author),
            look.table_of(&lane),
            row.get(3)?,
            time(clock(row.get(5)?)),
            is_own.into(),
            (!is_own || present == Some(incarnation)).into(),
            text(hex(&head)),
            text(lane.to_string()),
            text(incarnation.to_string()),
            text(author.to_string()),
        ])
    })?;
    rows.collect()
}

fn entries(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let mut statement = look.conn.prepare(
        "SELECT e.arrival, a.author, s.lane, e.sequence, e.status, e.note, e.header, e.received_unix_ms, length(e.ciphertext)
         FROM kith__entries e JOIN kith__streams s ON s.num = e.stream JOIN kith__authors a ON a.num = s.author ORDER BY e.arrival",
    )?;
    let rows = statement.query_map([], |row| {
        let author = AuthorId::from_bytes(row.get(1)?);
        let signed = row.get_ref(6)?.as_blob()?;
        let header = signed.len().checked_sub(Signature::LEN).and_then(|len| EntryHeader::decode(&signed[..len]).ok());
        let status = match row.get(4)? {
            0 => "waiting",
            1 => "applied",
            2 => "waiting for its table",
            _ => "refused",
        };
        let received = row.get::<_, i64>(7)?.unsigned_abs();
        Ok(vec![
            row.get(0)?,
            look.device(author),
            look.table_of(&LaneId::from_bytes(row.get(2)?)),
            row.get(3)?,
            text(status),
            row.get(5)?,
            header.map_or_else(|| text("damaged header"), |header| time(header.clock)),
            text(iso_time(received)),
            (row.get::<_, i64>(8)?.saturating_add_unsigned(signed.len() as u64)).into(),
            text(author.to_string()),
        ])
    })?;
    rows.collect()
}

fn members(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let Some(membership) = &look.membership else { return Ok(Rows::new()) };
    let row = |member: &kithdb_log::Member| {
        let admission = membership.operation(&member.admitted);
        let by = admission.filter(|operation| !matches!(operation.body, AdminBody::Genesis { .. }));
        vec![
            text(&member.name),
            text(member.role.to_string()),
            admission.map_or(Value::Null, |operation| text(iso_time(operation.clock_unix_ms))),
            by.map_or(Value::Null, |operation| look.device(operation.author)),
            (member.author == look.own).into(),
            text(member.author.to_string()),
        ]
    };
    Ok(membership.members().map(row).collect())
}

fn peers(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let mut statement = look.conn.prepare(
        "SELECT lower(hex(replica)), arrival, (SELECT count(*) FROM kith__entries e WHERE e.arrival > p.arrival) FROM kith__peers p",
    )?;
    let rows = statement.query_map([], |row| Ok(vec![row.get(0)?, row.get(1)?, row.get(2)?]))?;
    rows.collect()
}

fn conflicts(look: &Look<'_>) -> rusqlite::Result<Rows> {
    let authors = Authors::load(look.conn)?;
    let mut out = Rows::new();
    for table in look.catalog.registry.tables() {
        parked_rows(look, table, &authors, &mut out)?;
    }
    let mut statement =
        look.conn.prepare("SELECT table_num, key, kind, detail FROM kith__violations ORDER BY table_num, key, kind")?;
    let violations = statement.query_map([], |row| {
        let table = look.catalog.registry.by_num(row.get(0)?);
        let key: Vec<u8> = row.get(1)?;
        Ok(vec![
            table.map_or(Value::Null, |table| text(&table.name)),
            text(display_key(&key)),
            row.get(2)?,
            text(format!("{}; the row is shown all the same", row.get::<_, String>(3)?)),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ])
    })?;
    for violation in violations {
        out.push(violation?);
    }
    for table in look.catalog.registry.tables().iter().filter(|table| table.state == TableState::Synced) {
        orphans(look, table, &mut out)?;
    }
    Ok(out)
}

/// Lists the lives of rows that a constraint or a missing part keeps out of the table.
fn parked_rows(look: &Look<'_>, table: &TableInfo, authors: &Authors, out: &mut Rows) -> rusqlite::Result<()> {
    let mut statement = look.conn.prepare(
        "SELECT id, key, reason, state FROM kith_parked WHERE table_num = ?1 AND reason > 0 ORDER BY key, origin, generation",
    )?;
    let mut rows = statement.query([table.num])?;
    while let Some(row) = rows.next()? {
        let key: Vec<u8> = row.get(1)?;
        let (kind, reason) = explain(Reason::from_i64(row.get(2)?));
        let life = parked::decode(row.get_ref(3)?.as_blob()?, authors);
        let (device, written, values) = match life {
            Ok(life) => {
                let newest = life.node.cells.values().map(|cell| cell.stamp).chain(life.node.birth).max();
                let newest = newest.filter(|stamp| *stamp != Stamp::EXISTING);
                let values = life.node.cells.iter().filter_map(|(cell, content)| {
                    let column = &table.columns[*table.cells.get(usize::from(*cell))?];
                    Some((column.name.clone(), json(&content.value)))
                });
                let values = serde_json::Value::Object(values.collect());
                (
                    newest.map_or(Value::Null, |stamp| look.device(stamp.author)),
                    newest.map_or(Value::Null, |stamp| time(stamp.clock)),
                    text(values.to_string()),
                )
            }
            Err(error) => (Value::Null, Value::Null, text(format!("damaged: {error}"))),
        };
        out.push(vec![
            text(&table.name),
            text(display_key(&key)),
            text(kind),
            text(reason),
            device,
            written,
            values,
            row.get(0)?,
        ]);
    }
    Ok(())
}

const fn explain(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Past => ("past", "the row was deleted or replaced"),
        Reason::PartMissing => (
            "part missing",
            "a part of the row has not arrived, or was refused (`kith status` says so); the row is shown as soon as it is there",
        ),
        Reason::IdTaken => {
            ("id taken", "a row made before holds this id; insert these values under another id to keep them")
        }
        Reason::Unique => (
            "unique",
            "another row claimed a UNIQUE value of this one before; change it there, or insert these values with another",
        ),
        Reason::NotNull => ("not null", "a NOT NULL column has no value; write one on the device that made the row"),
        Reason::WrongType => (
            "type",
            "a value is not of its column's type in a STRICT table; write one that is on the device that made the row",
        ),
        Reason::Refused => (
            "refused",
            "an index, a generated column or a CHECK of this table fails on the row; mend the expression or the row's values",
        ),
    }
}

/// Lists the rows whose declared foreign keys lead nowhere.
fn orphans(look: &Look<'_>, table: &TableInfo, out: &mut Rows) -> rusqlite::Result<()> {
    let has_references: bool = look
        .conn
        .prepare("SELECT EXISTS(SELECT 1 FROM pragma_foreign_key_list(?1, 'main'))")?
        .query_row([&table.name], |row| row.get(0))?;
    if !has_references {
        return Ok(());
    }
    let key: Vec<_> =
        table.key.iter().map(|&column| format!("quote({})", quote(&table.columns[column].name))).collect();
    let key = key.join("||', '||");
    let mut find = if table.without_rowid {
        None
    } else {
        // `_rowid_` may be hidden by a column of that name; then the key stays unknown rather than wrong.
        let hidden = table.columns.iter().any(|column| column.name.eq_ignore_ascii_case("_rowid_"));
        let sql = format!("SELECT {key} FROM main.{} WHERE _rowid_ = ?1", quote(&table.name));
        if hidden { None } else { Some(look.conn.prepare(&sql)?) }
    };
    let mut statement = look.conn.prepare("SELECT rowid, parent FROM pragma_foreign_key_check(?1, 'main')")?;
    let mut rows = match statement.query([&table.name]) {
        Ok(rows) => rows,
        Err(error) => return broken_reference(table, &error, out),
    };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(error) => return broken_reference(table, &error, out),
        };
        let rowid: Option<i64> = row.get(0)?;
        let parent: String = row.get(1)?;
        let shown = match (&mut find, rowid) {
            (Some(find), Some(rowid)) => find.query_row([rowid], |row| row.get(0))?,
            _ => Value::Null,
        };
        out.push(vec![
            text(&table.name),
            shown,
            text("foreign key"),
            text(format!(
                "the row of {} that this row refers to is not here; the row is shown all the same",
                quote(&parent)
            )),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]);
    }
}

/// A foreign key to columns that are no key makes SQLite's own check fail; that is a conflict to be shown, too.
fn broken_reference(table: &TableInfo, error: &rusqlite::Error, out: &mut Rows) -> rusqlite::Result<()> {
    let mut row = vec![Value::Null; 8];
    row[0] = text(&table.name);
    row[2] = text("foreign key");
    row[3] = text(format!("the table's foreign keys cannot be checked: {error}"));
    out.push(row);
    Ok(())
}

fn json(encoded: &[u8]) -> serde_json::Value {
    match ValueRef::decode_all(encoded) {
        Ok(ValueRef::Null) => serde_json::Value::Null,
        Ok(ValueRef::Integer(value) | ValueRef::Reference(value, _)) => value.into(),
        Ok(ValueRef::Real(value)) => {
            serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), serde_json::Value::Number)
        }
        Ok(ValueRef::Text(bytes)) => String::from_utf8_lossy(bytes).into(),
        Ok(ValueRef::Blob(bytes)) => format!("x'{}'", hex(bytes)).into(),
        Err(_) => "damaged".into(),
    }
}

#[repr(C)]
struct InspectionTable {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab,
    db: *mut ffi::sqlite3,
    inspection: &'static Inspection,
    blinding: BlindingSecret,
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl<'vtab> VTab<'vtab> for InspectionTable {
    type Aux = (&'static Inspection, BlindingSecret);
    type Cursor = InspectionCursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let (inspection, blinding) = aux.ok_or(rusqlite::Error::InvalidQuery)?;
        // SAFETY: the table lives no longer than the connection that it is registered on.
        let db = unsafe { db.handle() };
        let base = ffi::sqlite3_vtab::default();
        Ok((Cow::Borrowed(inspection.columns), Self { base, db, inspection, blinding: blinding.clone() }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        info.set_estimated_cost(1e6);
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<InspectionCursor<'vtab>> {
        Ok(InspectionCursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            db: self.db,
            inspection: self.inspection,
            blinding: self.blinding.clone(),
            rows: Rows::new(),
            row: 0,
            table: PhantomData,
        })
    }
}

#[repr(C)]
struct InspectionCursor<'vtab> {
    /// Must be first: SQLite sees only this.
    base: ffi::sqlite3_vtab_cursor,
    db: *mut ffi::sqlite3,
    inspection: &'static Inspection,
    blinding: BlindingSecret,
    rows: Rows,
    row: usize,
    table: PhantomData<&'vtab InspectionTable>,
}

// SAFETY: `repr(C)` with the base first, as the trait asks.
unsafe impl VTabCursor for InspectionCursor<'_> {
    fn filter(&mut self, _number: c_int, _text: Option<&str>, _arguments: &Filters<'_>) -> rusqlite::Result<()> {
        // SAFETY: the cursor lives no longer than the connection; this borrowed handle is not closed when dropped.
        let conn = unsafe { Connection::from_handle(self.db) }?;
        self.rows = (self.inspection.read)(&Look::new(&conn, &self.blinding)?)?;
        self.row = 0;
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row >= self.rows.len()
    }

    fn column(&self, context: &mut Context, index: c_int) -> rusqlite::Result<()> {
        let value = self.rows.get(self.row).and_then(|row| row.get(usize::try_from(index).ok()?));
        context.set_result(value.unwrap_or(&Value::Null))
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.row as i64)
    }
}
