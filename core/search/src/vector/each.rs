//! sqlite-vec's `vec_each(embedding)`: the numbers of an embedding, a row each.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};

use rusqlite::types::{Value, ValueRef};
use rusqlite::vtab::{Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, ffi};

use super::table::error;
use super::value::{Element, Embedding};

/// The hidden column, which is the argument.
const VECTOR: c_int = 1;

/// Registers the table-valued function.
pub(super) fn register(conn: &Connection) -> rusqlite::Result<()> {
    const MODULE: Module<'_, Each> = Module::eponymous_only_module();
    conn.create_module(c"vec_each", &MODULE, None)
}

#[repr(C)]
struct Each {
    base: ffi::sqlite3_vtab,
}

// SAFETY: `Each` is `repr(C)` and begins with SQLite's own part.
unsafe impl VTab<'_> for Each {
    type Aux = ();
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        _: Option<&()>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let base = ffi::sqlite3_vtab { pModule: std::ptr::null(), nRef: 0, zErrMsg: std::ptr::null_mut() };
        Ok((c"CREATE TABLE x(value, vector HIDDEN)".into(), Self { base }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let mut is_given = false;
        for (constraint, mut usage) in info.constraints_and_usages() {
            if constraint.column() != VECTOR || constraint.operator() != IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ {
                continue;
            }
            if !constraint.is_usable() {
                return Ok(false);
            }
            usage.set_argv_index(1);
            usage.set_omit(true);
            is_given = true;
        }
        if !is_given {
            return Err(error("vec_each() takes one argument, an embedding"));
        }
        info.set_estimated_cost(100.0);
        info.set_estimated_rows(100);
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        let base = ffi::sqlite3_vtab_cursor { pVtab: std::ptr::null_mut() };
        Ok(Cursor { base, values: Vec::new(), place: 0 })
    }
}

#[repr(C)]
struct Cursor {
    base: ffi::sqlite3_vtab_cursor,
    values: Vec<Value>,
    place: usize,
}

// SAFETY: `Cursor` is `repr(C)` and begins with SQLite's own part.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, _: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        let value = arguments.iter().next().unwrap_or(ValueRef::Null);
        let element = Element::of_subtype(arguments.get_subtype(0));
        let embedding = Embedding::read(value, element).map_err(|reason| error(format!("vec_each(): {reason}")))?;
        self.place = 0;
        self.values = match embedding {
            Embedding::Float32(numbers) => numbers.into_iter().map(|number| Value::Real(f64::from(number))).collect(),
            Embedding::Int8(numbers) => numbers.into_iter().map(|number| Value::Integer(i64::from(number))).collect(),
            Embedding::Bit(bytes) => {
                let bits = |byte: u8| (0..8).map(move |bit| Value::Integer(i64::from(byte >> bit & 1)));
                bytes.into_iter().flat_map(bits).collect()
            }
        };
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.place += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.place >= self.values.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        match self.values.get(self.place) {
            Some(value) if column != VECTOR => context.set_result(value),
            _ => Ok(()),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.place as i64)
    }
}
