//! Prints rows: as a table, JSON, CSV, a line per value, or values between bars.
//!
//! Invariants:
//! 1. Memory is bounded by [`TABLE_ROWS_AHEAD`] rows: a table's widths are those of its first rows.
//! 2. Text from the database reaches a terminal without control characters, except where the reader is a program (JSON, CSV, list).

use std::borrow::Cow;
use std::io::{self, Write};

use clap::ValueEnum;
use rusqlite::types::ValueRef;
use unicode_width::UnicodeWidthStr;

/// How many rows are read before the widths of a table are fixed.
pub const TABLE_ROWS_AHEAD: usize = 500;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Mode {
    /// Columns side by side under their names.
    #[default]
    Table,
    /// One array of objects for each statement that returns rows; blobs as text like x'00ff'.
    Json,
    /// Comma-separated values with a line of names (RFC 4180).
    Csv,
    /// One line for each value.
    Line,
    /// Values between bars, without names, as the sqlite3 shell prints them.
    List,
}

impl Mode {
    /// Finds a mode by its name.
    pub fn parse(name: &str) -> Option<Self> {
        <Self as ValueEnum>::from_str(name, true).ok()
    }
}

/// Prints the rows of one result.
pub struct Rows<'w> {
    out: &'w mut dyn Write,
    mode: Mode,
    columns: Vec<String>,
    /// Whether what is named `is_…` is true or false in JSON.
    booleans: bool,
    count: u64,
    /// The rows read before the widths are fixed.
    ahead: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl<'w> Rows<'w> {
    /// Starts a result with these columns.
    pub fn new(out: &'w mut dyn Write, mode: Mode, columns: Vec<String>) -> Self {
        Self { out, mode, columns, booleans: false, count: 0, ahead: Vec::new(), widths: Vec::new() }
    }

    /// Takes integers of columns named `is_…` for booleans, which JSON has and SQL has not.
    pub const fn with_booleans(mut self) -> Self {
        self.booleans = true;
        self
    }

    /// Prints one row.
    pub fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.count += 1;
        match self.mode {
            Mode::Table => self.table_row(values.iter().map(|value| visible(&text(*value)).into_owned()).collect()),
            Mode::Json => self.json_row(values),
            Mode::Csv => {
                if self.count == 1 {
                    self.csv_names()?;
                }
                let fields: Vec<_> = values.iter().map(|value| csv_field(*value)).collect();
                write!(self.out, "{}\r\n", fields.join(","))
            }
            Mode::Line => {
                if self.count > 1 {
                    writeln!(self.out)?;
                }
                let width = self.columns.iter().map(|name| visible(name).width()).max().unwrap_or(0);
                for (name, value) in self.columns.iter().zip(values) {
                    let name = visible(name);
                    let pad = width - name.width();
                    writeln!(self.out, "{:pad$}{name} = {}", "", visible(&text(*value)))?;
                }
                Ok(())
            }
            Mode::List => {
                let values: Vec<_> = values.iter().map(|value| text(*value)).collect();
                writeln!(self.out, "{}", values.join("|"))
            }
        }
    }

    /// Ends the result; returns how many rows it had.
    pub fn end(mut self) -> io::Result<u64> {
        match self.mode {
            Mode::Table if self.widths.is_empty() => self.table_head()?,
            Mode::Json if self.count == 0 => writeln!(self.out, "[]")?,
            Mode::Json => writeln!(self.out, "]")?,
            Mode::Csv if self.count == 0 => self.csv_names()?,
            _ => {}
        }
        Ok(self.count)
    }

    fn csv_names(&mut self) -> io::Result<()> {
        let names: Vec<_> = self.columns.iter().map(|name| csv_field(ValueRef::Text(name.as_bytes()))).collect();
        write!(self.out, "{}\r\n", names.join(","))
    }

    fn json_row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.out.write_all(if self.count == 1 { b"[" } else { b",\n" })?;
        for (index, (name, value)) in self.columns.iter().zip(values).enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let value = match value {
                ValueRef::Integer(number) if self.booleans && name.starts_with("is_") => (*number != 0).to_string(),
                value => json_value(*value),
            };
            write!(self.out, "{before}{}:{value}", json_string(name))?;
        }
        self.out.write_all(b"}")
    }

    fn table_row(&mut self, row: Vec<String>) -> io::Result<()> {
        if !self.widths.is_empty() {
            return self.table_line(&row);
        }
        self.ahead.push(row);
        if self.ahead.len() == TABLE_ROWS_AHEAD { self.table_head() } else { Ok(()) }
    }

    fn table_head(&mut self) -> io::Result<()> {
        let names: Vec<String> = self.columns.iter().map(|name| visible(name).into_owned()).collect();
        self.widths = names.iter().map(|name| name.width()).collect();
        for row in &self.ahead {
            for (width, value) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(value.width());
            }
        }
        let rule: Vec<String> = self.widths.iter().map(|&width| "-".repeat(width)).collect();
        self.table_line(&names)?;
        self.table_line(&rule)?;
        for row in std::mem::take(&mut self.ahead) {
            self.table_line(&row)?;
        }
        Ok(())
    }

    fn table_line(&mut self, row: &[String]) -> io::Result<()> {
        let mut line = String::new();
        for (value, &width) in row.iter().zip(&self.widths) {
            line.push_str(value);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(value.width()) + 2));
        }
        writeln!(self.out, "{}", line.trim_end_matches(' '))
    }
}

/// Writes a value as text; NULL is empty, a blob is `x'00ff'`.
pub fn text(value: ValueRef<'_>) -> Cow<'_, str> {
    match value {
        ValueRef::Null => Cow::Borrowed(""),
        ValueRef::Integer(number) => Cow::Owned(number.to_string()),
        ValueRef::Real(number) => Cow::Owned(real(number)),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes),
        ValueRef::Blob(bytes) => Cow::Owned(blob(bytes)),
    }
}

/// Writes a value as JSON.
pub fn json_value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        // JSON's grammar has no infinity; a number beyond any double reads as one, as in SQLite.
        ValueRef::Real(number) if number.is_infinite() => if number > 0.0 { "1e999" } else { "-1e999" }.to_owned(),
        ValueRef::Integer(_) | ValueRef::Real(_) => text(value).into_owned(),
        ValueRef::Text(_) | ValueRef::Blob(_) => json_string(&text(value)),
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn real(number: f64) -> String {
    if number.is_infinite() { if number > 0.0 { "Inf" } else { "-Inf" }.to_owned() } else { format!("{number:?}") }
}

fn blob(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2 + 3);
    out.push_str("x'");
    for byte in bytes {
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    out.push('\'');
    out
}

fn csv_field(value: ValueRef<'_>) -> String {
    let text = text(value);
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into_owned() }
}

/// Makes control characters visible, so that text of other people cannot steer the terminal.
pub fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: &str = "日本";

    fn print(mode: Mode) -> String {
        let mut out = Vec::new();
        let mut rows = Rows::new(&mut out, mode, vec!["id".to_owned(), "a,b".to_owned()]);
        rows.row(&[ValueRef::Text(WIDE.as_bytes()), ValueRef::Real(1.0)]).unwrap();
        rows.row(&[ValueRef::Text(b"x\x1b[2J\n\"q\""), ValueRef::Blob(&[0, 255])]).unwrap();
        rows.row(&[ValueRef::Null, ValueRef::Integer(i64::MIN)]).unwrap();
        assert_eq!(rows.end().unwrap(), 3);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table_is_aligned_and_shows_control_characters() {
        assert_eq!(
            print(Mode::Table),
            "id               a,b\n\
             ---------------  --------------------\n\
             日本             1.0\n\
             x\\u{1b}[2J\\n\"q\"  x'00ff'\n\
            \u{20}                -9223372036854775808\n"
        );
    }

    #[test]
    fn json_is_one_array_that_parses() {
        let parsed: serde_json::Value = serde_json::from_str(&print(Mode::Json)).unwrap();
        assert_eq!(
            parsed,
            serde_json::json!([{"id": WIDE, "a,b": 1.0}, {"id": "x\u{1b}[2J\n\"q\"", "a,b": "x'00ff'"}, {"id": null, "a,b": i64::MIN}])
        );
        assert_eq!(json_value(ValueRef::Real(f64::NEG_INFINITY)), "-1e999");
    }

    #[test]
    fn csv_line_and_list_are_as_documented() {
        assert_eq!(
            print(Mode::Csv),
            "id,\"a,b\"\r\n日本,1.0\r\n\"x\u{1b}[2J\n\"\"q\"\"\",x'00ff'\r\n,-9223372036854775808\r\n"
        );
        assert!(print(Mode::Line).starts_with(" id = 日本\na,b = 1.0\n\n id = x\\u{1b}"));
        assert_eq!(print(Mode::List).lines().next(), Some("日本|1.0"));
    }

    #[test]
    fn empty_results_name_their_columns() {
        let empty = |mode| {
            let mut out = Vec::new();
            Rows::new(&mut out, mode, vec!["a".to_owned(), "bc".to_owned()]).end().unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(empty(Mode::Table), "a  bc\n-  --\n");
        assert_eq!(empty(Mode::Json), "[]\n");
        assert_eq!(empty(Mode::Csv), "a,bc\r\n");
        assert_eq!(empty(Mode::List), "");
    }

    #[test]
    fn long_tables_keep_the_widths_of_their_first_rows() {
        let mut out = Vec::new();
        let mut rows = Rows::new(&mut out, Mode::Table, vec!["n".to_owned()]);
        for number in 0..=TABLE_ROWS_AHEAD as i64 {
            rows.row(&[ValueRef::Integer(number * 1000)]).unwrap();
        }
        assert_eq!(rows.end().unwrap(), TABLE_ROWS_AHEAD as u64 + 1);
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), TABLE_ROWS_AHEAD + 3);
    }
}
