//! UNIQUE: who keeps a value that several rows claim.
//!
//! Rows are taken in the order of (greatest stamp among the cells of UNIQUE indexes, key, origin); each is shown if nothing shown before
//! it stands in its way. Only rows that lost a claim, and the shown rows that stand in their way, can change places: shown rows never
//! contest each other, so the rest of the table is left alone. SQLite itself judges what collides, so partial, expression and collated
//! indexes need no second implementation.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kithdb_log::{Origin, Stamp, ValueRef};
use rusqlite::ffi;

use super::materialise::{insert_life, show};
use super::meta::RowMeta;
use super::parked::{self, Life, Parked, Reason};
use super::remote::hide;
use super::table::{TableWork, Written};
use super::{Context, MergeError};
use crate::registry::TableInfo;

type Rank = (Stamp, Vec<u8>, Origin);

enum Contender {
    Loser(Parked),
    Holder(RowMeta, Life),
}

fn rank(table: &TableWork<'_>, key: &[u8], origin: Origin, life: &Life) -> Rank {
    let claims =
        life.node.cells.iter().filter(|(cell, _)| table.info.unique_cells.get(usize::from(**cell)) == Some(&true));
    (claims.map(|(_, content)| content.stamp).max().unwrap_or_default(), key.to_vec(), origin)
}

/// Gives every contested value to the row that the rule names.
pub(crate) fn settle(context: &mut Context<'_>, table: &mut TableWork<'_>) -> Result<(), MergeError> {
    let losers = parked::with_reason(context.conn, &context.authors, table.info.num, Reason::Unique)?;
    if losers.is_empty() {
        return Ok(());
    }
    let mut contenders: BTreeMap<Rank, Contender> = BTreeMap::new();
    for key in displaced_by(context, table, &losers)? {
        // A row without metadata in a table without existing rows was written by another program: it stays.
        if let Some(meta) = table.meta(&context.authors, &key)? {
            let life = table.shown_life(&key, &meta)?;
            contenders.insert(rank(table, &key, meta.origin, &life), Contender::Holder(meta, life));
        }
    }
    for loser in losers {
        contenders.insert(rank(table, &loser.id.key, loser.id.origin, &loser.life), Contender::Loser(loser));
    }
    let winners = rehearse(context, table, &contenders)?;
    for ((_, key, _), contender) in &contenders {
        if let Contender::Holder(meta, _) = contender
            && !winners.contains(key)
        {
            hide(context, table, key, meta, Reason::Unique)?;
        }
    }
    for ((_, key, _), contender) in &contenders {
        if let Contender::Loser(loser) = contender
            && winners.contains(key)
        {
            show(context, table, loser)?;
        }
    }
    Ok(())
}

/// Plays the greedy choice through on the real table and takes it back; returns the keys that end up shown.
fn rehearse(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    contenders: &BTreeMap<Rank, Contender>,
) -> Result<BTreeSet<Vec<u8>>, MergeError> {
    let rows_written = table.rows_written;
    let winners = undone(context, |context| {
        for ((_, key, _), contender) in contenders {
            if matches!(contender, Contender::Holder(..)) {
                table.delete(&context.guard, key)?;
            }
        }
        let mut winners = BTreeSet::new();
        for ((_, key, _), contender) in contenders {
            let life = match contender {
                Contender::Loser(loser) => &loser.life,
                Contender::Holder(_, life) => life,
            };
            if insert_life(context, table, key, life)? == Written::Done {
                winners.insert(key.clone());
            }
        }
        Ok(winners)
    })?;
    table.rows_written = rows_written;
    Ok(winners)
}

/// Runs something inside a savepoint that is always rolled back, with all triggers off.
fn undone<T>(
    context: &mut Context<'_>,
    run: impl FnOnce(&mut Context<'_>) -> Result<T, MergeError>,
) -> Result<T, MergeError> {
    use rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    let conn = context.conn;
    let before = conn.db_config(SQLITE_DBCONFIG_ENABLE_TRIGGER)?;
    conn.execute_batch("SAVEPOINT kith__rehearsal")?;
    conn.set_db_config(SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.pragma_update(None, "ignore_check_constraints", true)?;
    let out = run(context);
    conn.pragma_update(None, "ignore_check_constraints", false)?;
    conn.set_db_config(SQLITE_DBCONFIG_ENABLE_TRIGGER, before)?;
    conn.execute_batch("ROLLBACK TO kith__rehearsal; RELEASE kith__rehearsal")?;
    out
}

/// Finds the shown rows that stand in the way of any of the losers: those that REPLACE would displace.
fn displaced_by(
    context: &mut Context<'_>,
    table: &mut TableWork<'_>,
    losers: &[Parked],
) -> Result<Vec<Vec<u8>>, MergeError> {
    let mut probe = Box::new(Probe { table: table.info.clone(), displaced: Vec::new(), failed: false });
    let conn = context.conn;
    for loser in losers {
        undone(context, |_| {
            // SAFETY: the handle is live for as long as `conn`; the hook's argument lives until the hook is replaced below.
            unsafe { ffi::sqlite3_preupdate_hook(conn.handle(), Some(on_change), (&raw mut *probe).cast()) };
            let outcome =
                table.replace(&loser.id.key, |cell| loser.life.node.cells.get(&cell).map(|cell| cell.value.as_slice()));
            // SAFETY: as above; this only takes the hook away again.
            unsafe { ffi::sqlite3_preupdate_hook(conn.handle(), None, std::ptr::null_mut()) };
            outcome
        })?;
    }
    (context.restore_hook)();
    if probe.failed {
        return Err(MergeError::Decode(kithdb_log::DecodeError::NotCanonical { what: "key" }));
    }
    let mut displaced = std::mem::take(&mut probe.displaced);
    displaced.sort_unstable();
    displaced.dedup();
    Ok(displaced)
}

struct Probe {
    table: Arc<TableInfo>,
    displaced: Vec<Vec<u8>>,
    failed: bool,
}

unsafe extern "C" fn on_change(
    probe: *mut c_void,
    db: *mut ffi::sqlite3,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    _old_rowid: i64,
    _new_rowid: i64,
) {
    // SAFETY: SQLite passes the pointer that `displaced_by` registered, which outlives the registration, and nothing else holds it.
    let probe = unsafe { &mut *probe.cast::<Probe>() };
    // SAFETY: SQLite passes NUL-terminated names that live during the call.
    let (database, table) = unsafe { (CStr::from_ptr(database), CStr::from_ptr(table)) };
    if operation != ffi::SQLITE_DELETE
        || database != c"main"
        || !table.to_bytes().eq_ignore_ascii_case(probe.table.name.as_bytes())
    {
        return;
    }
    // SAFETY: we are inside the preupdate hook of `db`.
    let key = catch_unwind(AssertUnwindSafe(|| unsafe { old_key(db, &probe.table) }));
    match key {
        Ok(Some(key)) => probe.displaced.push(key),
        _ => probe.failed = true,
    }
}

/// Reads the canonical key of the row that is about to go.
///
/// # Safety
/// Must run inside the preupdate hook of `db`, for a DELETE on `table`.
unsafe fn old_key(db: *mut ffi::sqlite3, table: &TableInfo) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for &column in &table.key {
        let column = &table.columns[column];
        let mut value: *mut ffi::sqlite3_value = std::ptr::null_mut();
        // SAFETY: by this function's contract; `value` is a valid place.
        let code = unsafe { ffi::sqlite3_preupdate_old(db, c_int::try_from(column.table_index).ok()?, &raw mut value) };
        if code != ffi::SQLITE_OK || value.is_null() {
            return None;
        }
        // SAFETY: SQLite keeps the value alive during the hook; the bytes are read before anything else touches it.
        let value = unsafe {
            match ffi::sqlite3_value_type(value) {
                ffi::SQLITE_INTEGER => ValueRef::Integer(ffi::sqlite3_value_int64(value)),
                ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_value_double(value)),
                ffi::SQLITE_TEXT => {
                    let text = ffi::sqlite3_value_text(value);
                    ValueRef::Text(slice(text, ffi::sqlite3_value_bytes(value)))
                }
                ffi::SQLITE_BLOB => {
                    let blob = ffi::sqlite3_value_blob(value);
                    ValueRef::Blob(slice(blob.cast(), ffi::sqlite3_value_bytes(value)))
                }
                _ => ValueRef::Null,
            }
        };
        if !kithdb_log::key::encode_part(value, column.collation, &mut key) {
            return None;
        }
    }
    Some(key)
}

/// # Safety
/// `start` must be null or point at `len` readable bytes.
unsafe fn slice<'a>(start: *const u8, len: c_int) -> &'a [u8] {
    if start.is_null() || len <= 0 {
        return &[];
    }
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(start, len as usize) }
}
