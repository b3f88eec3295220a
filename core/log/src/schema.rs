//! Schema operations: how a table that is synced was created, so that a peer without it can create it too.

use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::ids::{ColumnId, TableId};
use crate::limits::{COLUMNS_MAX, FORMAT_VERSION, INDEXES_MAX, NAME_BYTES_MAX, SQL_BYTES_MAX};
use crate::payload::{KIND_SCHEMA, read_kind};

/// How SQLite converts what is stored in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// No conversion (BLOB or no type).
    Blob,
    /// Text.
    Text,
    /// Integer or real, as the content asks.
    Numeric,
    /// Integer.
    Integer,
    /// Floating point.
    Real,
}

impl Affinity {
    const ALL: [Self; 5] = [Self::Blob, Self::Text, Self::Numeric, Self::Integer, Self::Real];

    /// Derives the affinity from a declared type, by section 3.1 of <https://sqlite.org/datatype3.html>.
    pub fn of_declared_type(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        let has = |part: &str| upper.contains(part);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || upper.trim().is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

/// How text in a key column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collation {
    /// Byte by byte.
    Binary,
    /// ASCII letters without case.
    NoCase,
    /// Byte by byte, without trailing spaces.
    RTrim,
}

impl Collation {
    const ALL: [Self; 3] = [Self::Binary, Self::NoCase, Self::RTrim];

    /// Knows the collations that every SQLite has.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "BINARY" => Some(Self::Binary),
            "NOCASE" => Some(Self::NoCase),
            "RTRIM" => Some(Self::RTrim),
            _ => None,
        }
    }
}

/// What a column is, as far as merging needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSchema {
    /// The name as it was written.
    pub name: String,
    /// How many columns of this name the table had before.
    pub earlier_uses: u32,
    /// How stored values are converted.
    pub affinity: Affinity,
    /// How text is compared.
    pub collation: Collation,
}

/// How rows of a table are identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Equal keys are one row.
    Natural,
    /// Keys are numbers that SQLite hands out: rows born apart under one number are two rows.
    Auto,
}

/// A table that is synced, as its first peer created it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    /// The name as it was written.
    pub name: String,
    /// How many tables of this name the workspace had before.
    pub earlier_uses: u32,
    /// The CREATE TABLE statement.
    pub sql: String,
    /// The CREATE INDEX statements.
    pub indexes: Vec<String>,
    /// The stored (not generated) columns in order.
    pub columns: Vec<ColumnSchema>,
    /// Indexes into `columns` that make up the primary key, in key order.
    pub key: Vec<u16>,
    /// How rows are identified.
    pub key_kind: KeyKind,
}

impl TableSchema {
    /// Returns the table's id.
    pub fn id(&self) -> TableId {
        TableId::derive(&self.name, self.earlier_uses)
    }

    /// Returns the columns' ids in order.
    pub fn column_ids(&self) -> Vec<ColumnId> {
        let table = self.id();
        self.columns.iter().map(|column| ColumnId::derive(table, &column.name, column.earlier_uses)).collect()
    }

    /// Encodes a payload that creates this table.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_VERSION, KIND_SCHEMA];
        put_bytes(&mut out, self.name.as_bytes());
        put_varint(&mut out, u64::from(self.earlier_uses));
        put_bytes(&mut out, self.sql.as_bytes());
        put_varint(&mut out, self.indexes.len() as u64);
        for index in &self.indexes {
            put_bytes(&mut out, index.as_bytes());
        }
        put_varint(&mut out, self.columns.len() as u64);
        for column in &self.columns {
            put_bytes(&mut out, column.name.as_bytes());
            put_varint(&mut out, u64::from(column.earlier_uses));
            out.push(column.affinity as u8);
            out.push(column.collation as u8);
        }
        put_varint(&mut out, self.key.len() as u64);
        for &column in &self.key {
            put_varint(&mut out, u64::from(column));
        }
        out.push(self.key_kind as u8);
        out
    }

    /// Decodes a payload that creates a table.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let kind = read_kind(&mut reader)?;
        if kind != KIND_SCHEMA {
            return Err(DecodeError::Unknown { what: "payload kind", value: u64::from(kind) });
        }
        let name = reader.text(NAME_BYTES_MAX, "table name")?.to_owned();
        let earlier_uses = read_u32(&mut reader, "earlier uses")?;
        let sql = reader.text(SQL_BYTES_MAX, "table definition")?.to_owned();
        let mut indexes = Vec::new();
        for _ in 0..reader.count(INDEXES_MAX, "number of indexes")? {
            indexes.push(reader.text(SQL_BYTES_MAX, "index definition")?.to_owned());
        }
        let mut columns = Vec::new();
        for _ in 0..reader.count(COLUMNS_MAX, "number of columns")? {
            columns.push(ColumnSchema {
                name: reader.text(NAME_BYTES_MAX, "column name")?.to_owned(),
                earlier_uses: read_u32(&mut reader, "earlier uses")?,
                affinity: read_choice(&mut reader, &Affinity::ALL, "affinity")?,
                collation: read_choice(&mut reader, &Collation::ALL, "collation")?,
            });
        }
        let mut key = Vec::new();
        for _ in 0..reader.count(columns.len(), "number of key columns")? {
            let column = reader.count(columns.len(), "key column")?;
            if column == columns.len() || key.contains(&(column as u16)) {
                return Err(DecodeError::NotCanonical { what: "key column" });
            }
            key.push(column as u16);
        }
        if key.is_empty() {
            return Err(DecodeError::NotCanonical { what: "number of key columns" });
        }
        let key_kind = read_choice(&mut reader, &[KeyKind::Natural, KeyKind::Auto], "key kind")?;
        reader.finish("table definition")?;
        Ok(Self { name, earlier_uses, sql, indexes, columns, key, key_kind })
    }
}

fn read_u32(reader: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    let value = reader.varint(what)?;
    u32::try_from(value).map_err(|_| DecodeError::TooLarge { what, size: value, max: u64::from(u32::MAX) })
}

fn read_choice<T: Copy>(reader: &mut Reader<'_>, all: &[T], what: &'static str) -> Result<T, DecodeError> {
    let value = reader.byte(what)?;
    all.get(usize::from(value)).copied().ok_or(DecodeError::Unknown { what, value: u64::from(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TableSchema {
        let column = |name: &str, affinity| ColumnSchema {
            name: name.into(),
            earlier_uses: 0,
            affinity,
            collation: Collation::Binary,
        };
        TableSchema {
            name: "Notes".into(),
            earlier_uses: 0,
            sql: "CREATE TABLE Notes(id TEXT PRIMARY KEY, body TEXT)".into(),
            indexes: vec!["CREATE INDEX notes_body ON Notes(body)".into()],
            columns: vec![column("id", Affinity::Text), column("body", Affinity::Text)],
            key: vec![0],
            key_kind: KeyKind::Natural,
        }
    }

    #[test]
    fn definition_comes_back_and_truncations_are_refused() {
        let encoded = sample().encode();
        assert_eq!(TableSchema::decode(&encoded), Ok(sample()));
        for len in 0..encoded.len() {
            assert!(TableSchema::decode(&encoded[..len]).is_err());
        }
    }

    #[test]
    fn affinity_follows_the_declared_type() {
        for (declared, affinity) in [
            ("CHARINT", Affinity::Integer),
            ("varchar(9)", Affinity::Text),
            ("", Affinity::Blob),
            ("DOUBLE", Affinity::Real),
            ("DECIMAL(1,2)", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of_declared_type(declared), affinity, "{declared}");
        }
    }
}
