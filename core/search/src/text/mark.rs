//! Snippets and highlights of the rows that were found.
//!
//! Where a text matches, FTS5 tells by its function highlight(). That one takes time by the square of the matches, since it looks for
//! the end of what it has written at each. So the few rows that were found are cut into pieces, which are indexed once more, in memory,
//! and marked there. A piece reaches a while into the next one, so that what lies over a cut is found as well.

use std::ops::Range;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::error::TextError;
use super::index::Index;
use super::query::{Clause, expression, in_columns};
use super::search::Hit;
use super::snippet::{Marked, snippet};
use crate::sql::quote;

/// How long a piece is, without what it has of the next one.
const PIECE_BYTES: usize = 4_096;
/// How far a piece reaches into the next one, at least.
const OVERLAP_BYTES: usize = 1_024;
/// … and for each byte of the longest phrase: between its words may be more signs than were typed.
const OVERLAP_PER_BYTE: usize = 4;

/// How what fits is marked.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    pub(super) before: String,
    pub(super) after: String,
    /// About how many words a snippet has.
    pub(super) words: i64,
}

impl Default for Marks {
    fn default() -> Self {
        // Nothing that a browser would take for markup: the text around it is not escaped.
        Self { before: "[".to_owned(), after: "]".to_owned(), words: 16 }
    }
}

/// An FTS5 table in memory.
pub(super) struct Marker<'a> {
    conn: Connection,
    index: &'a Index,
    marks: &'a Marks,
}

impl<'a> Marker<'a> {
    pub(super) fn new(index: &'a Index, marks: &'a Marks) -> Result<Self, TextError> {
        let conn = Connection::open_in_memory()?;
        let columns: Vec<String> = index.columns.iter().map(|column| quote(column)).collect();
        conn.execute_batch(&format!(
            "BEGIN; CREATE VIRTUAL TABLE {} USING fts5({}, tokenize='{}')",
            quote(&index.fts),
            columns.join(", "),
            index.tokenizer.replace('\'', "''")
        ))?;
        Ok(Self { conn, index, marks })
    }

    /// Returns snippet and highlight of each row; the highlight is a JSON object of columns.
    pub(super) fn mark(
        &self,
        clauses: &[Clause],
        columns: &[String],
        hits: &[Hit],
    ) -> Result<Vec<(Value, Value)>, TextError> {
        let mut rows: Vec<Vec<Option<Marked>>> = hits.iter().map(|hit| self.texts(hit)).collect::<Result<_, _>>()?;
        let longest = clauses.iter().map(|clause| clause.text.len()).max().unwrap_or(0);
        let overlap = OVERLAP_BYTES.max(longest * OVERLAP_PER_BYTE);
        for (column, name) in self.index.columns.iter().enumerate() {
            if columns.is_empty() || columns.contains(name) {
                self.find(column, clauses, overlap, &mut rows)?;
            }
        }
        let shown = rows.iter().map(|texts| {
            let mut highlight = serde_json::Map::new();
            for (name, marked) in self.index.columns.iter().zip(texts) {
                let text = marked.as_ref().map(|marked| marked.write(0..marked.text.len(), self.marks));
                highlight.insert(name.clone(), text.into());
            }
            let snippet = snippet(texts, self.marks).map_or(Value::Null, Value::Text);
            (snippet, Value::Text(serde_json::Value::Object(highlight).to_string()))
        });
        Ok(shown.collect())
    }

    /// Reads the indexed values as FTS5 does: a number is its text, a blob the text that it may hold.
    fn texts(&self, hit: &Hit) -> Result<Vec<Option<Marked>>, TextError> {
        let mut cast = self.conn.prepare_cached("SELECT CAST(?1 AS TEXT)")?;
        let mut read = |value: &Value| -> rusqlite::Result<Option<Marked>> {
            let text = match value {
                Value::Null => return Ok(None),
                Value::Text(text) => text.clone(),
                Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                number => cast.query_row([number], |row| row.get(0))?,
            };
            Ok(Some(Marked { text, matches: Vec::new() }))
        };
        Ok(hit.texts.iter().map(&mut read).collect::<rusqlite::Result<_>>()?)
    }

    /// Finds what matches in a column of all rows.
    fn find(
        &self,
        column: usize,
        clauses: &[Clause],
        overlap: usize,
        rows: &mut [Vec<Option<Marked>>],
    ) -> Result<(), TextError> {
        let (fts, name) = (quote(&self.index.fts), &self.index.columns[column]);
        // What is to be marked is what any of the clauses finds, even where a row must have all.
        let Some(wanted) = expression(clauses, false) else { return Ok(()) };
        self.conn.prepare_cached(&format!("DELETE FROM {fts}"))?.execute([])?;
        let mut insert = self.conn.prepare(&format!("INSERT INTO {fts}(rowid, {}) VALUES(?1, ?2)", quote(name)))?;
        // By rowid: the row, and where in its text the piece begins.
        let mut places = Vec::new();
        for (row, texts) in rows.iter().enumerate() {
            let text = texts[column].as_ref().map_or("", |marked| &marked.text);
            for piece in pieces(text, overlap) {
                insert.execute((places.len() as i64, &text[piece.clone()]))?;
                places.push((row, piece.start));
            }
        }
        let texts = rows.iter().filter_map(|texts| texts[column].as_ref()).map(|marked| marked.text.as_str());
        let [open, close] = signs(&texts.collect::<Vec<_>>());
        let sql =
            format!("SELECT rowid, highlight({fts}, {column}, ?2, ?3) FROM {fts} WHERE {fts} MATCH ?1 ORDER BY rowid");
        let mut statement = self.conn.prepare(&sql)?;
        let wanted = in_columns(&wanted, std::slice::from_ref(name));
        let mut found = statement.query((wanted, open.to_string(), close.to_string()))?;
        while let Some(row) = found.next()? {
            let place = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
            let Some(&(at, start)) = places.get(place) else { continue };
            let Some(marked) = rows[at][column].as_mut() else { continue };
            for range in read(row.get_ref(1)?.as_bytes().unwrap_or_default(), open, close) {
                // The trigram tokenizer counts the bytes of letters in their folded case, which may be more or fewer than there are.
                let from = marked.text.floor_char_boundary(start + range.start);
                let until = marked.text.ceil_char_boundary(start + range.end);
                if from < until {
                    add(&mut marked.matches, from..until);
                }
            }
        }
        Ok(())
    }
}

/// Cuts a text between words into pieces that overlap.
fn pieces(text: &str, overlap: usize) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let next = cut(text, start + PIECE_BYTES);
        out.push(start..cut(text, next + overlap));
        start = next;
    }
    out
}

/// Returns a place near the byte at which a text can be cut: after white space, or between characters if there is none.
fn cut(text: &str, byte: usize) -> usize {
    if byte >= text.len() {
        return text.len();
    }
    let from = text.floor_char_boundary(byte);
    let until = text.floor_char_boundary((byte + OVERLAP_BYTES).min(text.len()));
    let blank = text[from..until].char_indices().find(|(_, c)| c.is_whitespace());
    blank.map_or(from, |(at, c)| from + at + c.len_utf8())
}

/// Adds a range to others, whose starts are in order but for those of the piece before.
fn add(matches: &mut Vec<Range<usize>>, range: Range<usize>) {
    let at = matches.partition_point(|other| other.end <= range.start);
    let until = at + matches[at..].partition_point(|other| other.start < range.end);
    let start = matches.get(at).filter(|_| at < until).map_or(range.start, |first| first.start.min(range.start));
    let end = matches[at..until].last().map_or(range.end, |last| last.end.max(range.end));
    matches.splice(at..until, std::iter::once(start..end));
}

/// Returns two characters that no text has: of those that Unicode leaves to private use and gives no meaning.
fn signs(texts: &[&str]) -> [char; 2] {
    let mut free = ('\u{f0000}'..='\u{ffffd}').filter(|sign| !texts.iter().any(|text| text.contains(*sign)));
    // A text with all 65,534 of them is shown with wrong marks.
    [free.next().unwrap_or('\u{f0000}'), free.next().unwrap_or('\u{f0001}')]
}

/// Reads where FTS5 put the signs in a text, as ranges of the text without them.
fn read(text: &[u8], open: char, close: char) -> Vec<Range<usize>> {
    let [open, close] = [open, close].map(|sign| sign.to_string().into_bytes());
    let (mut out, mut start, mut at, mut rest) = (Vec::new(), None, 0, text);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(open.as_slice()) {
            start = Some(at);
            rest = after;
        } else if let Some(after) = rest.strip_prefix(close.as_slice()) {
            out.extend(start.take().map(|start| start..at));
            rest = after;
        } else {
            at += 1;
            rest = &rest[1..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_are_read_from_text_that_they_left_malformed() {
        assert_eq!(read("a<b>c<d>".as_bytes(), '<', '>'), [1..2, 3..4]);
        assert_eq!(read(b"\xc8<\xba>a<b>", '<', '>'), [1..2, 3..4]);
    }

    proptest! {
        #[test]
        fn pieces_cover_a_text_and_overlap(text in "([a-zé風]{0,9}[ \n]?){0,3000}", overlap in 0_usize..3_000) {
            let pieces = pieces(&text, overlap);
            prop_assert_eq!(pieces.first().map_or(0, |piece| piece.start), 0);
            prop_assert_eq!(pieces.last().map_or(0, |piece| piece.end), text.len());
            for pair in pieces.windows(2) {
                prop_assert!(pair[0].start < pair[1].start && pair[1].start <= pair[0].end);
                prop_assert!(pair[0].end == text.len() || pair[0].end >= pair[1].start + overlap.saturating_sub(4));
                prop_assert!(pair[0].len() < PIECE_BYTES + overlap + 3 * OVERLAP_BYTES);
            }
        }

        #[test]
        fn ranges_are_united_where_they_overlap(ranges in prop::collection::vec((0_usize..40, 1_usize..6), 0..20)) {
            let mut united = Vec::new();
            let mut is_in = [false; 50];
            for (start, len) in ranges {
                add(&mut united, start..start + len);
                is_in[start..start + len].fill(true);
            }
            for (byte, is_in) in is_in.into_iter().enumerate() {
                prop_assert_eq!(united.iter().filter(|range| range.contains(&byte)).count(), usize::from(is_in));
            }
            prop_assert!(united.is_sorted_by(|one, other| one.end <= other.start));
        }
    }
}
