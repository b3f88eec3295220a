//! Words that are left out of OR queries, because nearly every document has them: they cost most of the time and say nothing.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::query::Clause;
use crate::sql::quote;

/// The default stop words of Lucene's EnglishAnalyzer (Apache Lucene, `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`), in order. Frequent
/// words of other languages are found by counting.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// A word in more than one of so many documents is too frequent. BM25 as FTS5 computes it weighs a word that half of all documents
/// have with zero, and one that an eighth has with a third of the weight of one in a thousand.
const DOCUMENTS_PER_FREQUENT: i64 = 8;
/// With fewer documents than this, nothing is gained.
const DOCUMENTS_MIN: i64 = 2_000;
/// How many words are remembered at most.
const REMEMBERED_MAX: usize = 10_000;

/// Which words of which index were found to be frequent, and in how many documents that was.
#[derive(Debug, Default)]
pub(super) struct Frequencies {
    known: HashMap<(String, String), (bool, i64)>,
}

impl Frequencies {
    /// Returns the clauses that are worth looking for; all of them, if none is.
    pub(super) fn worth(
        &mut self,
        conn: &Connection,
        fts: &str,
        clauses: Vec<Clause>,
    ) -> rusqlite::Result<Vec<Clause>> {
        let is_word = |clause: &Clause| !clause.is_phrase && !clause.is_prefix;
        if clauses.len() < 2 {
            return Ok(clauses);
        }
        let documents = document_count(conn, fts)?;
        let mut kept = Vec::with_capacity(clauses.len());
        for clause in &clauses {
            if !is_word(clause) || !(is_stop_word(&clause.text) || self.is_frequent(conn, fts, clause, documents)?) {
                kept.push(clause.clone());
            }
        }
        Ok(if kept.is_empty() { clauses } else { kept })
    }

    fn is_frequent(&mut self, conn: &Connection, fts: &str, clause: &Clause, documents: i64) -> rusqlite::Result<bool> {
        if documents < DOCUMENTS_MIN {
            return Ok(false);
        }
        let key = (fts.to_owned(), clause.text.to_lowercase());
        if let Some((is_frequent, counted)) = self.known.get(&key)
            && (counted - documents).abs() <= counted / 8
        {
            return Ok(*is_frequent);
        }
        let bound = documents / DOCUMENTS_PER_FREQUENT;
        let name = quote(fts);
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM main.{name} WHERE {name} MATCH ?1 LIMIT ?2)");
        let found: i64 =
            conn.prepare_cached(&sql)?.query_row(rusqlite::params![clause.to_fts(), bound + 1], |row| row.get(0))?;
        let is_frequent = found > bound;
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(key, (is_frequent, documents));
        Ok(is_frequent)
    }
}

fn is_stop_word(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    STOP_WORDS.binary_search(&word.as_str()).is_ok()
}

/// Reads how many documents an index has, as of its last flush: the first number of FTS5's averages record, row 1 of `…_data`.
pub(super) fn document_count(conn: &Connection, fts: &str) -> rusqlite::Result<i64> {
    let sql = format!("SELECT block FROM main.{} WHERE id = 1", quote(&format!("{fts}_data")));
    let block: Option<Vec<u8>> = conn.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(block.map_or(0, |block| varint(&block)))
}

/// Reads a variable-length integer as SQLite writes them: seven bits a byte, the highest first; eight of the ninth.
fn varint(bytes: &[u8]) -> i64 {
    let mut value: u64 = 0;
    for (place, &byte) in bytes.iter().take(9).enumerate() {
        if place == 8 {
            return ((value << 8) | u64::from(byte)).cast_signed();
        }
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_in_order() {
        assert!(STOP_WORDS.is_sorted());
        assert!(is_stop_word("The,") && !is_stop_word("thesis"));
    }

    #[test]
    fn varints_are_read() {
        assert_eq!(varint(&[0x7f]), 127);
        assert_eq!(varint(&[0x81, 0x00, 0x05]), 128);
        assert_eq!(varint(&[]), 0);
    }
}
