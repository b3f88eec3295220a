//! sqlite-vec's `vec_each(embedding)`: the numbers of an embedding, a row each.

use std::ffi::{CStr, c_int};
use std::rc::Rc;

use rusqlite::types::{Value, ValueRef};
use rusqlite::vtab::{IndexConstraintOp, IndexInfo};
use rusqlite::{Connection, ffi};

use super::table::error;
use super::value::{Element, Embedding};
use crate::function::{self, Asked, Listed, Row, TableFunction};

const NAME: &CStr = c"vec_each";

/// The hidden column, which is the argument.
const VECTOR: c_int = 1;

/// Registers the table-valued function.
pub(super) fn register(conn: &Connection) -> rusqlite::Result<()> {
    function::register::<Each>(conn, NAME, ())
}

struct Each;

impl TableFunction for Each {
    type Aux = ();
    type Rows = Listed;

    fn open(_: *mut ffi::sqlite3, (): &()) -> Self {
        Self
    }

    fn name(&self) -> &'static CStr {
        NAME
    }

    fn columns(&self) -> &'static CStr {
        c"CREATE TABLE x(value, vector HIDDEN)"
    }

    fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
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

    fn ask(_: &Rc<Self>, asked: &Asked<'_>) -> rusqlite::Result<Listed> {
        let value = asked.arguments.iter().next().unwrap_or(ValueRef::Null);
        let element = Element::of_subtype(asked.arguments.get_subtype(0));
        let embedding = Embedding::read(value, element).map_err(|reason| error(format!("vec_each(): {reason}")))?;
        let values: Vec<Value> = match embedding {
            Embedding::Float32(numbers) => numbers.into_iter().map(|number| Value::Real(f64::from(number))).collect(),
            Embedding::Int8(numbers) => numbers.into_iter().map(|number| Value::Integer(i64::from(number))).collect(),
            Embedding::Bit(bytes) => {
                let bits = |byte: u8| (0..8).map(move |bit| Value::Integer(i64::from(byte >> bit & 1)));
                bytes.into_iter().flat_map(bits).collect()
            }
        };
        let row = |(place, value)| Row { rowid: Some(place), values: vec![value] };
        Ok(Listed::new((0..).zip(values).map(row).collect(), Vec::new()))
    }
}
