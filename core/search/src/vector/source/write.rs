//! The writing part of a step: embeddings, what was looked at, and what went wrong.

use std::borrow::Cow;

use rusqlite::{CachedStatement, Connection, ToSql};

use super::super::content::{KeyColumn, key_condition};
use super::label::Label;
use super::queue::{self, key_columns, stale_table};
use super::step::{Batch, Source, Stale, is_busy};
use crate::sql::{in_savepoint, quote};

impl Batch {
    /// Writes what the model answered to the texts, in their order; returns how many rows are left.
    pub(super) fn write(&self, conn: &Connection, answers: &[Option<Vec<f32>>]) -> rusqlite::Result<i64> {
        in_savepoint(conn, || {
            let stale = quote(&stale_table(&self.name));
            self.take_away(conn)?;
            let sql = format!("SELECT coalesce(max(sequence), 0) FROM main.{stale}");
            let before: i64 = conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
            let mut writer = self.writer(conn)?;
            for row in &self.stale {
                let embedding = row.text.and_then(|place| answers.get(place)).and_then(Option::as_deref);
                let embedding = embedding.map(|numbers| self.labelled(numbers, &row.source));
                writer.write(row, embedding.as_deref(), before)?;
            }
            queue::set_problem(conn, &self.name, None)?;
            queue::left(conn, &self.name)
        })
    }

    /// Makes the BLOB of an embedding, with its label.
    fn labelled(&self, numbers: &[f32], source: &Source) -> Vec<u8> {
        let mut numbers = Cow::Borrowed(numbers);
        if let Source::Text(text) = source {
            Label::of(&self.model, text).write(numbers.to_mut());
        }
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Takes away the notes that were read, and moves the scan on.
    fn take_away(&self, conn: &Connection) -> rusqlite::Result<()> {
        let stale = quote(&stale_table(&self.name));
        let mut delete = conn.prepare_cached(&format!("DELETE FROM main.{stale} WHERE sequence = ?1"))?;
        for note in &self.notes {
            delete.execute([note])?;
        }
        let Some(looked) = &self.looked else { return Ok(()) };
        let Some(last) = &looked.last else { return delete.execute([looked.scan.sequence]).map(drop) };
        let keys = (0..self.content.key.len()).map(|number| format!(", key_{number} = ?{}", number + 3));
        let sql = format!("UPDATE main.{stale} SET remaining = ?2{} WHERE sequence = ?1", keys.collect::<String>());
        let parts = last.parts();
        let mut values: Vec<&dyn ToSql> = vec![&looked.scan.sequence, &looked.remaining];
        values.extend(parts.iter().map(|part| part as &dyn ToSql));
        conn.prepare_cached(&sql)?.execute(values.as_slice()).map(drop)
    }

    /// Keeps why the embeddings were not written, by a trigger of the user's say, unless the file is only in use.
    pub(super) fn note_refusal(&self, conn: &Connection, error: &rusqlite::Error) {
        if is_busy(error) {
            return;
        }
        let reason = format!("embeddings cannot be written to table {:?}: {error}", self.declaration.content);
        if let Err(error) = self.note_failure(conn, &reason) {
            tracing::debug!(%error, reason, "a failure was not noted");
        }
    }

    /// Keeps why the model did not answer. One row alone that it does not answer for lets all others go before it,
    /// which `remaining` says of its note.
    pub(super) fn note_failure(&self, conn: &Connection, reason: &str) -> rusqlite::Result<()> {
        in_savepoint(conn, || {
            queue::set_problem(conn, &self.name, Some(reason))?;
            let [row] = self.stale.as_slice() else { return Ok(()) };
            self.take_away(conn)?;
            let parts = row.key.parts();
            let marks: String = (0..parts.len()).map(|number| format!(", ?{}", number + 2)).collect();
            let sql = format!(
                "INSERT INTO main.{}(is_forced, remaining, {}) VALUES(?1, 1{marks})",
                quote(&stale_table(&self.name)),
                key_columns(&self.content)
            );
            let mut values: Vec<&dyn ToSql> = vec![&row.is_forced];
            values.extend(parts.iter().map(|part| part as &dyn ToSql));
            let rowid = conn.last_insert_rowid();
            conn.prepare_cached(&sql)?.execute(values.as_slice())?;
            // SAFETY: the handle is open.
            unsafe { rusqlite::ffi::sqlite3_set_last_insert_rowid(conn.handle(), rowid) };
            Ok(())
        })
    }

    fn writer<'c>(&self, conn: &'c Connection) -> rusqlite::Result<Writer<'c>> {
        let (table, source, column) = (self.content_table(), quote(&self.source), quote(&self.declaration.column));
        let is_row = key_condition(&self.content.key, 3);
        let noted =
            |(column, number): (&KeyColumn, usize)| KeyColumn { name: format!("key_{number}"), ..column.clone() };
        let noted: Vec<_> = self.content.key.iter().zip(0..).map(noted).collect();
        let is_noted = key_condition(&noted, 3);
        let update = format!(
            "UPDATE {table} SET {column} = ?1 WHERE {is_row} AND {source} IS ?2 COLLATE BINARY AND {column} IS NOT ?1"
        );
        let settle = format!(
            "DELETE FROM main.{} WHERE sequence > ?{} AND {is_noted} AND EXISTS(SELECT 1 FROM {table} WHERE {is_row} AND {source} IS ?2 COLLATE BINARY AND {column} IS ?1)",
            quote(&stale_table(&self.name)),
            self.content.key.len() + 3
        );
        Ok(Writer { update: conn.prepare_cached(&update)?, settle: conn.prepare_cached(&settle)? })
    }
}

struct Writer<'c> {
    update: CachedStatement<'c>,
    settle: CachedStatement<'c>,
}

impl Writer<'_> {
    /// Writes one row, and takes away what this write noted itself, unless a trigger of the user's changed the row again.
    fn write(&mut self, row: &Stale, embedding: Option<&[u8]>, before: i64) -> rusqlite::Result<()> {
        let parts = row.key.parts();
        let mut values: Vec<&dyn ToSql> = vec![&embedding, &row.source];
        values.extend(parts.iter().map(|part| part as &dyn ToSql));
        if self.update.execute(values.as_slice())? > 0 {
            values.push(&before);
            self.settle.execute(values.as_slice())?;
        }
        Ok(())
    }
}
