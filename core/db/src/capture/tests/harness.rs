//! A database with capture, the decoding of what it recorded, and a model that the record must rebuild exactly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kithdb_log::{
    Affinity, Collation, ColumnId, ColumnSchema, KeyKind, LaneId, Reader, TableId, TableSchema, ValueRef,
};
use rusqlite::{Connection, ffi};

use crate::capture::Capture;
use crate::pending::{self, PendingChange};
use crate::registry::{ColumnInfo, Registry, TableInfo, TableState};
use crate::storage;
use kithdb_log::key;

/// One captured change with decoded values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) kind: u8,
    pub(super) table: u32,
    pub(super) old: Vec<Vec<u8>>,
    pub(super) new: Vec<Option<Vec<u8>>>,
}

/// One captured transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transaction {
    pub(super) first_clock: u64,
    pub(super) rows: usize,
    pub(super) changes: Vec<Change>,
}

/// A connection with capture.
pub(super) struct Db {
    pub(super) conn: Connection,
    pub(super) capture: Capture,
    pub(super) registry: Registry,
    pub(super) now: Arc<AtomicU64>,
}

/// Describes a table as `define.rs` will.
pub(super) fn table_info(conn: &Connection, num: u32, name: &str, existing_rows: bool) -> TableInfo {
    let mut keyed: Vec<(i64, usize)> = Vec::new();
    let mut columns = Vec::new();
    let mut xinfo =
        conn.prepare("SELECT cid, name, type, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid").unwrap();
    let mut rows = xinfo.query([name]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        if row.get::<_, i64>(4).unwrap() != 0 {
            continue;
        }
        let declared: String = row.get(2).unwrap();
        let pk: i64 = row.get(3).unwrap();
        if pk > 0 {
            keyed.push((pk, columns.len()));
        }
        columns.push(ColumnInfo {
            id: ColumnId::from_bytes([columns.len() as u8; 16]),
            name: row.get(1).unwrap(),
            affinity: Affinity::of_declared_type(&declared),
            collation: Collation::Binary,
            table_index: row.get::<_, i64>(0).unwrap() as usize,
            cell: None,
            references: None,
        });
    }
    keyed.sort_unstable();
    let key: Vec<usize> = keyed.into_iter().map(|(_, column)| column).collect();
    assert!(!key.is_empty(), "{name} has no key");
    let sql: String =
        conn.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0)).unwrap();
    let mut cells = Vec::new();
    for (index, column) in columns.iter_mut().enumerate() {
        if !key.contains(&index) || key::is_ambiguous(column.affinity, column.collation) {
            column.cell = Some(cells.len());
            cells.push(index);
        }
    }
    TableInfo {
        num,
        id: TableId::derive(name, 0),
        lane: LaneId::from_bytes([num as u8; 32]),
        name: name.into(),
        schema: TableSchema {
            name: name.into(),
            earlier_uses: 0,
            sql: sql.clone(),
            indexes: Vec::new(),
            columns: columns
                .iter()
                .map(|column| ColumnSchema {
                    name: column.name.clone(),
                    earlier_uses: 0,
                    affinity: column.affinity,
                    collation: column.collation,
                })
                .collect(),
            key: key.iter().map(|&column| column as u16).collect(),
            key_kind: KeyKind::Natural,
        },
        state: TableState::Synced,
        changed: None,
        existing_rows,
        cell_ids: cells.iter().map(|&column| columns[column].id).collect(),
        unique_cells: vec![false; cells.len()],
        columns,
        key,
        cells,
        without_rowid: sql.to_ascii_uppercase().contains("WITHOUT ROWID"),
    }
}

impl Db {
    /// Opens a database in memory with these tables synced.
    pub(super) fn memory(schema: &str, synced: &[&str]) -> Self {
        Self::on(Connection::open_in_memory().unwrap(), schema, synced, false)
    }

    /// Installs capture on a connection, first creating the tables unless they are there.
    pub(super) fn on(conn: Connection, schema: &str, synced: &[&str], existing_rows: bool) -> Self {
        conn.execute_batch(schema).unwrap();
        let is_new: bool = conn
            .query_row("SELECT NOT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'kith__meta')", [], |row| row.get(0))
            .unwrap();
        if is_new {
            conn.execute_batch(storage::CREATE).unwrap();
        }
        let now = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let capture = Capture::install(
            &conn,
            Arc::new(move || {
                let now = clock.load(Ordering::Relaxed);
                assert!(now != u64::MAX, "the test wants a panic");
                now
            }),
        )
        .unwrap();
        let infos =
            synced.iter().enumerate().map(|(index, name)| table_info(&conn, index as u32 + 1, name, existing_rows));
        let registry = Registry::new(infos.collect());
        capture.set_tables(&conn, &registry).unwrap();
        Self { conn, capture, registry, now }
    }

    /// Runs SQL that must succeed.
    pub(super) fn run(&self, sql: &str) {
        if let Err(error) = self.conn.execute_batch(sql) {
            panic!("{sql}: {error} (refused because: {:?})", self.capture.take_refusal());
        }
    }

    /// Runs SQL that must fail and returns the error's text.
    pub(super) fn fail(&self, sql: &str) -> String {
        self.conn.execute_batch(sql).expect_err(sql).to_string()
    }

    pub(super) fn count(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Writes into column `d` of a row of `t` by incremental blob I/O, several times through one handle.
    pub(super) fn write_blob(&self, row: i64, bytes: &[u8], at: i32, times: u32) {
        let mut blob = std::ptr::null_mut();
        // SAFETY: the handle is open, the names are C strings, and the blob is closed before it goes.
        unsafe {
            let db = self.conn.handle();
            let code =
                ffi::sqlite3_blob_open(db, c"main".as_ptr(), c"t".as_ptr(), c"d".as_ptr(), row, 1, &raw mut blob);
            assert_eq!(code, ffi::SQLITE_OK);
            for _ in 0..times {
                assert_eq!(
                    ffi::sqlite3_blob_write(blob, bytes.as_ptr().cast(), bytes.len() as i32, at),
                    ffi::SQLITE_OK
                );
            }
            assert_eq!(ffi::sqlite3_blob_close(blob), ffi::SQLITE_OK);
        }
    }

    /// Decodes `kith__pending` as this connection sees it, and checks its clocks and its list of tables.
    pub(super) fn pending(&self) -> Vec<Transaction> {
        self.pending_after(0)
    }

    pub(super) fn pending_after(&self, n: i64) -> Vec<Transaction> {
        let mut select = self
            .conn
            .prepare("SELECT first_clock, last_clock, continues, body FROM kith__pending WHERE n > ?1 ORDER BY n")
            .unwrap();
        let mut rows = select.query([n]).unwrap();
        let mut transactions: Vec<Transaction> = Vec::new();
        let mut tables: Vec<u32> = Vec::new();
        let mut goes_on = false;
        let mut last_clock = 0;
        while let Some(row) = rows.next().unwrap() {
            let first: u64 = row.get::<_, i64>(0).unwrap() as u64;
            let last: u64 = row.get::<_, i64>(1).unwrap() as u64;
            let flags: i64 = row.get(2).unwrap();
            let body = pending::unpack(row.get(3).unwrap(), flags).unwrap();
            let mut reader = Reader::new(&body);
            if goes_on {
                assert_eq!(first, last_clock + 1, "a transaction's clocks are consecutive");
            } else {
                assert!(first > last_clock, "clocks grow");
                tables.clear();
                for _ in 0..reader.varint("tables").unwrap() {
                    tables.push(reader.varint("table").unwrap() as u32);
                }
                transactions.push(Transaction { first_clock: first, rows: 0, changes: Vec::new() });
            }
            let transaction = transactions.last_mut().unwrap();
            transaction.rows += 1;
            let before = transaction.changes.len();
            let mut change = PendingChange::default();
            while !reader.is_empty() {
                let shape = |num| self.registry.by_num(num).map(|table| (table.columns.len(), table.key.len()));
                change.read(&mut reader, shape).unwrap();
                assert!(tables.contains(&change.table));
                transaction.changes.push(Change {
                    kind: change.kind,
                    table: change.table,
                    old: change.old.iter().map(|value| value.to_vec()).collect(),
                    new: change.new.iter().map(|value| value.map(<[u8]>::to_vec)).collect(),
                });
            }
            let count = (transaction.changes.len() - before) as u64;
            assert!(count > 0, "no row without changes");
            assert_eq!(last - first + 1, count, "one tick for each change");
            last_clock = last;
            goes_on = flags & pending::CONTINUES != 0;
        }
        assert!(!goes_on, "the last row of a transaction does not continue");
        transactions
    }

    /// Lists the changes of all transactions as text.
    pub(super) fn told(&self) -> Vec<String> {
        self.pending()
            .iter()
            .flat_map(|transaction| transaction.changes.iter().map(|change| self.tell(change)))
            .collect()
    }

    /// Writes a change as text: `+` insert, `~` update, `*` update with old row, `-` delete.
    pub(super) fn tell(&self, change: &Change) -> String {
        let info = self.registry.by_num(change.table).unwrap();
        let old: Vec<String> = change.old.iter().map(|value| tell_value(value)).collect();
        let sign = ["+", "~", "*", "-"][usize::from(change.kind)];
        let new: Vec<String> = match change.kind {
            pending::INSERT => change.new.iter().flatten().map(|value| tell_value(value)).collect(),
            _ => change
                .new
                .iter()
                .zip(&info.columns)
                .filter_map(|(value, column)| Some(format!("{}={}", column.name, tell_value(value.as_deref()?))))
                .collect(),
        };
        let arrow = if old.is_empty() || new.is_empty() { "" } else { " > " };
        format!("{sign}{} {}{arrow}{}", info.name, old.join(","), new.join(","))
    }

    /// Reads the stored columns of a synced table, encoded, by key.
    pub(super) fn table(&self, info: &TableInfo) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
        let names: Vec<_> = info.columns.iter().map(|column| kithdb_search::sql::quote(&column.name)).collect();
        let mut select = self
            .conn
            .prepare(&format!("SELECT {} FROM main.{}", names.join(","), kithdb_search::sql::quote(&info.name)))
            .unwrap();
        let mut rows = select.query([]).unwrap();
        let mut table = BTreeMap::new();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Vec<u8>> = (0..names.len())
                .map(|column| super::super::flush::from_sql(row.get_ref(column).unwrap()).to_encoded())
                .collect();
            table.insert(key_of(info, &values), values);
        }
        table
    }

    /// Reads all synced tables.
    pub(super) fn tables(&self) -> Model {
        let tables = self.registry.tables().iter().map(|info| (info.num, self.table(info)));
        Model { tables: tables.collect() }
    }
}

fn key_of(info: &TableInfo, values: &[Vec<u8>]) -> Vec<u8> {
    info.key.iter().flat_map(|&column| values[column].clone()).collect()
}

fn tell_value(encoded: &[u8]) -> String {
    match ValueRef::decode_all(encoded).unwrap() {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).escape_debug()),
        ValueRef::Blob(blob) => format!("x'{}'", data_encoding_hex(blob)),
        ValueRef::Reference(..) => unreachable!(),
    }
}

fn data_encoding_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The synced tables as the record rebuilds them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Model {
    pub(super) tables: BTreeMap<u32, BTreeMap<Vec<u8>, Vec<Vec<u8>>>>,
}

impl Model {
    /// Replays a transaction; everything it says about the rows it changes must be true.
    pub(super) fn replay(&mut self, registry: &Registry, transaction: &Transaction) {
        for change in &transaction.changes {
            let info = registry.by_num(change.table).unwrap();
            let rows = self.tables.entry(change.table).or_default();
            let mut row = match change.kind {
                pending::INSERT => vec![Vec::new(); info.columns.len()],
                pending::UPDATE => rows.remove(&change.old.concat()).expect("an updated row is there"),
                _ => {
                    let row = rows.remove(&key_of(info, &change.old)).expect("a changed row is there");
                    assert_eq!(row, change.old, "the old row is the one that was there");
                    row
                }
            };
            if change.kind == pending::DELETE {
                continue;
            }
            let mut changed = 0;
            for (column, value) in change.new.iter().enumerate() {
                if let Some(value) = value {
                    assert!(*value != row[column], "only changed columns are reported");
                    row[column].clone_from(value);
                    changed += 1;
                }
            }
            assert!(changed > 0, "a change changes something");
            let before = rows.insert(key_of(info, &row), row);
            assert_eq!(before, None, "a row is inserted where none is");
        }
    }
}
