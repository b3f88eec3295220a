//! The tables KithDB keeps beside the user's own: their definitions and the format number.
//!
//! Names starting with `kith` belong to KithDB. Tables with two underscores are internal; `docs/FORMAT.md` describes them.

pub use kithdb_search::sql::quote;
use rusqlite::Connection;

/// Version of the tables below; a file with a greater one is never written to.
pub const FILE_FORMAT: i64 = 1;

/// Creates every table that does not depend on which user tables are synced.
pub const CREATE: &str = "
CREATE TABLE kith__meta(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE kith__authors(num INTEGER PRIMARY KEY, author BLOB NOT NULL, incarnation BLOB NOT NULL, UNIQUE(author, incarnation));
CREATE TABLE kith__tables(num INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, name TEXT NOT NULL, schema BLOB NOT NULL, state TEXT NOT NULL,
  existing_rows INTEGER NOT NULL DEFAULT 0, uptake BLOB, schema_sequence INTEGER);
CREATE TABLE kith__pending(n INTEGER PRIMARY KEY, first_clock INTEGER NOT NULL, last_clock INTEGER NOT NULL, continues INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE kith__streams(num INTEGER PRIMARY KEY, author INTEGER NOT NULL, lane BLOB NOT NULL, height INTEGER NOT NULL, head BLOB NOT NULL,
  clock INTEGER NOT NULL, arrival INTEGER NOT NULL, UNIQUE(author, lane));
CREATE TABLE kith__entries(arrival INTEGER PRIMARY KEY, stream INTEGER NOT NULL, sequence INTEGER NOT NULL, status INTEGER NOT NULL,
  received_unix_ms INTEGER NOT NULL, header BLOB NOT NULL, ciphertext BLOB NOT NULL, note TEXT, UNIQUE(stream, sequence));
CREATE INDEX kith__entries_waiting ON kith__entries(arrival) WHERE status = 0;
CREATE TABLE kith__openings(stream INTEGER NOT NULL, epoch BLOB NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY(stream, epoch)) WITHOUT ROWID;
CREATE TABLE kith__admin(n INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, operation BLOB NOT NULL);
CREATE TABLE kith__peers(replica BLOB PRIMARY KEY, arrival INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE kith_parked(id INTEGER PRIMARY KEY, table_num INTEGER NOT NULL, key BLOB NOT NULL, origin INTEGER NOT NULL, generation INTEGER NOT NULL,
  reason INTEGER NOT NULL, state BLOB NOT NULL, UNIQUE(table_num, key, origin, generation));
CREATE INDEX kith__parked_live ON kith_parked(table_num) WHERE reason > 0;
CREATE TABLE kith__violations(table_num INTEGER NOT NULL, key BLOB NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY(table_num, key, kind)) WITHOUT ROWID;
CREATE TABLE kith__dirty(table_num INTEGER NOT NULL, rowkey BLOB, operation TEXT NOT NULL, noted TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
";

/// Names the table that holds the row metadata of synced table number `num`.
pub fn rows_table(num: u32) -> String {
    format!("kith__rows_{num}")
}

/// Creates the row metadata table of a synced table: by integer for auto-numbered keys, by encoded key otherwise.
pub fn create_rows_table(conn: &Connection, num: u32, auto: bool) -> rusqlite::Result<()> {
    let name = rows_table(num);
    let sql = if auto {
        format!("CREATE TABLE {name}(key INTEGER PRIMARY KEY, meta BLOB NOT NULL)")
    } else {
        format!("CREATE TABLE {name}(key BLOB PRIMARY KEY, meta BLOB NOT NULL) WITHOUT ROWID")
    };
    conn.execute_batch(&sql)
}

/// Reads a value of `kith__meta`.
pub fn get_meta<T: rusqlite::types::FromSql>(conn: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    use rusqlite::OptionalExtension;
    conn.prepare_cached("SELECT value FROM kith__meta WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}

/// Writes a value of `kith__meta`.
pub fn put_meta(conn: &Connection, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO kith__meta VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    )?
    .execute(rusqlite::params![name, value])?;
    Ok(())
}
