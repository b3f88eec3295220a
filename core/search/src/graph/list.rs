//! `kith_graphs`: the graphs that the file declares.

use std::ffi::{CStr, c_int};
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::declare;
use super::error::GraphError;
use super::table::{Function, Home, Question, Rows};

/// See the module.
pub(super) struct List;

impl Function for List {
    const NAME: &'static CStr = c"kith_graphs";
    const USAGE: &'static str = "kith_graphs";
    const COLUMNS: &'static CStr = c"CREATE TABLE x(name TEXT, definition TEXT, missing_indexes TEXT, problem TEXT)";
    const SHOWN: c_int = 4;
    const ARGUMENTS: usize = 0;
    const REQUIRED: usize = 0;
    type Rows = Graphs;
    type Kept = ();

    fn ask(home: &Rc<Home<Self>>, _question: &Question) -> Result<Graphs, GraphError> {
        Ok(Graphs { rows: declare::list(&home.library.connection()?, home.library.internal())?, shown: 0 })
    }
}

/// The rows, read when the query begins.
pub(super) struct Graphs {
    rows: Vec<[Option<String>; 4]>,
    /// How many rows were come to.
    shown: usize,
}

impl Rows for Graphs {
    fn advance(&mut self) -> Result<bool, GraphError> {
        self.shown += 1;
        Ok(self.shown <= self.rows.len())
    }

    fn value(&self, column: c_int) -> ToSqlOutput<'_> {
        let row = self.shown.checked_sub(1).and_then(|at| self.rows.get(at));
        let text = row.zip(usize::try_from(column).ok()).and_then(|(row, column)| row.get(column)?.as_deref());
        text.map_or(ToSqlOutput::Owned(Value::Null), |text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
    }
}
