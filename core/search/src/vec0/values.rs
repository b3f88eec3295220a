//! Which values a `vec0` table takes, as sqlite-vec judges them.

use rusqlite::types::ValueRef;
use rusqlite::{Error, ToSql, types::ToSqlOutput};

use super::declaration::{Column, Kind, Type};
use super::table::error;
use crate::vector::value::{Element, Embedding};

/// A value as it is stored.
pub(super) enum Stored<'v> {
    Given(ValueRef<'v>),
    Embedding(Vec<u8>),
}

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Given(value) => *value,
            Self::Embedding(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Reads a value that is written to a column.
pub(super) fn written<'v>(column: &Column, value: ValueRef<'v>, subtype: u32) -> rusqlite::Result<Stored<'v>> {
    let name = &column.name;
    let refused = |message: String| -> rusqlite::Result<Stored<'v>> { Err(error(message)) };
    match column.kind {
        Kind::Embedding { element, dimensions, .. } => {
            let embedding = embedding(name, "inserted vector for", element, dimensions, value, subtype)?;
            Ok(Stored::Embedding(embedding.to_blob()))
        }
        Kind::Partition(kind) | Kind::Auxiliary(kind) if value != ValueRef::Null && !fits(kind, value) => {
            let what = if matches!(column.kind, Kind::Partition(_)) { "partition key" } else { "auxiliary" };
            let (kind, got) = (kind.name(), type_name(value));
            refused(format!(
                "vec0: {what} column type mismatch: column {name:?} has type {kind}, but {got} was provided"
            ))
        }
        Kind::Metadata(Type::Boolean) if !fits(Type::Boolean, value) => {
            refused(format!("vec0: expected 0 or 1 for BOOLEAN metadata column {name:?}"))
        }
        Kind::Metadata(kind) if !fits(kind, value) => {
            let (lower, upper, got) = (kind.name().to_ascii_lowercase(), kind.name(), type_name(value));
            refused(format!("vec0: expected {lower} for {upper} metadata column {name:?}, received {got}"))
        }
        Kind::Partition(_) | Kind::Auxiliary(_) | Kind::Metadata(_) => Ok(Stored::Given(value)),
    }
}

/// Reads the embedding that a column is searched for.
pub(super) fn query(column: &Column, value: ValueRef<'_>, subtype: u32) -> rusqlite::Result<Vec<f32>> {
    let Kind::Embedding { element, dimensions, .. } = column.kind else {
        return Err(error(format!("vec0: column {:?} holds no vectors to search", column.name)));
    };
    Ok(embedding(&column.name, "query vector for", element, dimensions, value, subtype)?.into_floats())
}

fn embedding(
    name: &str,
    what: &str,
    element: Element,
    dimensions: usize,
    value: ValueRef<'_>,
    subtype: u32,
) -> rusqlite::Result<Embedding> {
    let is_typed = [Element::Float32, Element::Int8, Element::Bit].iter().any(|known| known.subtype() == subtype);
    // UPDATE loses the subtype on the way, and so does a table that rows were kept in.
    let taken_as = match value {
        ValueRef::Blob(_) if !is_typed => element,
        _ => Element::of_subtype(subtype),
    };
    if taken_as != element && matches!(value, ValueRef::Text(_) | ValueRef::Blob(_)) {
        let (expected, got) = (element.name(), taken_as.name());
        return Err(error(format!(
            "vec0: the {what} the {name:?} column is expected to be of type {expected}, but a {got} vector was provided"
        )));
    }
    let embedding = Embedding::read(value, element)
        .map_err(|reason| error(format!("vec0: the {what} the {name:?} column is invalid: {reason}")))?;
    let got = embedding.len();
    if got != dimensions {
        return Err(error(format!(
            "vec0: dimension mismatch for the {what} the {name:?} column: expected {dimensions} dimensions but received {got}"
        )));
    }
    Ok(embedding)
}

fn fits(kind: Type, value: ValueRef<'_>) -> bool {
    match kind {
        Type::Integer => matches!(value, ValueRef::Integer(_)),
        Type::Float => matches!(value, ValueRef::Real(_)),
        Type::Text => matches!(value, ValueRef::Text(_)),
        Type::Boolean => matches!(value, ValueRef::Integer(0 | 1)),
        Type::Blob => matches!(value, ValueRef::Blob(_)),
    }
}

/// The name of a value's type in SQL.
const fn type_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "INTEGER",
        ValueRef::Real(_) => "FLOAT",
        ValueRef::Text(_) => "TEXT",
        ValueRef::Blob(_) => "BLOB",
    }
}

/// Says that a primary key is taken.
pub(super) fn taken(table: &str) -> Error {
    error(format!("vec0: UNIQUE constraint failed on {table} primary key"))
}
