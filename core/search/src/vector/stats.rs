//! `kith_vector_stats`: what each `kith_vector` table and each embedding column of a `vec0` table of the main database holds, and how
//! it was last searched.

use std::ffi::CStr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rusqlite::types::Value;
use rusqlite::vtab::IndexInfo;
use rusqlite::{Connection, ffi};

use super::declaration::{encoding_name, engine_name, metric_name};
use super::rowid_index;
use super::search::Figures;
use super::source;
use super::table::Held;
use super::view::View;
use crate::function::{self, Asked, Listed, Row, TableFunction};
use crate::sql::quote;

/// Left-out rows that are listed.
const REFUSED_MAX: usize = 100;

const NAME: &CStr = c"kith_vector_stats";

const COLUMNS: &CStr = c"CREATE TABLE x(name TEXT, content TEXT, column_name TEXT, dimensions INTEGER, metric TEXT, encoding TEXT,
  engine TEXT, recall REAL, tier TEXT, ef INTEGER, progress REAL, behind INTEGER, indexed INTEGER, refused INTEGER, refused_rows TEXT, pending INTEGER, applied INTEGER,
  last_choice TEXT, memory_bytes INTEGER, problem TEXT, source TEXT, model TEXT, to_embed INTEGER, model_problem TEXT,
  max_memory INTEGER, mapped_bytes INTEGER, memory_problem TEXT)";

/// Registers the table.
pub(super) fn register(conn: &Connection, held: Arc<Held>) -> rusqlite::Result<()> {
    function::register::<Stats>(conn, NAME, held)
}

struct Stats {
    db: *mut ffi::sqlite3,
    held: Arc<Held>,
}

impl Stats {
    fn read(&self) -> rusqlite::Result<Vec<Row>> {
        // SAFETY: the handle is that of the connection that this table belongs to; it is open while SQLite calls.
        let conn = unsafe { Connection::from_handle(self.db) }?;
        let mut rows = Vec::new();
        let with_itself = |name: String| (name.clone(), vec![name]);
        let names = super::table_names(&conn)?.into_iter().map(with_itself).chain(crate::vec0::index_names(&conn)?);
        for (name, index) in names.flat_map(|(name, of)| of.into_iter().map(move |index| (name.clone(), index))) {
            // Has SQLite connect the table, if it has not yet.
            let is_vec0 = name != index;
            match conn.prepare(&format!("SELECT 1 FROM main.{}", quote(&name))) {
                // It may be sqlite-vec's own.
                Err(_) if is_vec0 => continue,
                connected => drop(connected?),
            }
            let Some((declaration, shared)) = self.held.get(&index) else { continue };
            self.held.begin_background(&conn, &index, &declaration);
            // SAFETY: as above; the view ends with this call.
            let own = unsafe { Connection::from_handle(self.db) }?;
            let mut view = View::new(own, index, declaration.clone(), Arc::clone(&shared));
            let (figures, problem) = match view.figures() {
                Ok(figures) if figures.is_watched => (figures, None),
                Ok(figures) => {
                    let remedy = if is_vec0 {
                        "copy its rows into a new vec0 table".to_owned()
                    } else {
                        format!("run INSERT INTO {}(command) VALUES('rebuild')", quote(&name))
                    };
                    let problem = format!(
                        "table {:?} was made anew, so its changes are not noted and each search reads all of it; {remedy}",
                        declaration.content
                    );
                    (figures, Some(problem))
                }
                Err(reason) if is_vec0 => {
                    (Figures::default(), Some(rowid_index::refused(&declaration, reason).to_string()))
                }
                Err(reason) => (Figures::default(), Some(reason.to_string())),
            };
            let (done, total) = (shared.work.done.load(Relaxed), shared.work.total.load(Relaxed));
            let progress = (total > 0).then(|| done as f64 / total as f64);
            let options = &declaration.options;
            let embedding =
                if declaration.model.is_some() { source::figures(&conn, &name)? } else { Default::default() };
            let values = vec![
                Value::Text(name),
                Value::Text(declaration.content.clone()),
                Value::Text(declaration.column.clone()),
                Value::Integer(options.dimensions as i64),
                Value::Text(metric_name(options.metric).to_owned()),
                Value::Text(encoding_name(options.encoding).to_owned()),
                Value::Text(engine_name(options.engine).to_owned()),
                Value::Real(f64::from(declaration.recall_permille) / 1000.0),
                Value::Text(if figures.has_graph { "hnsw" } else { "scan" }.to_owned()),
                Value::Integer(figures.ef as i64),
                progress.map_or(Value::Null, Value::Real),
                Value::Integer(figures.behind as i64),
                Value::Integer(figures.indexed as i64),
                Value::Integer(figures.refused.len() as i64),
                Value::Text(refused(&figures)),
                Value::Integer(figures.pending as i64),
                Value::Integer(figures.applied),
                Value::Text(shared.choice().to_owned()),
                Value::Integer(figures.memory_bytes as i64),
                problem.map_or(Value::Null, Value::Text),
                declaration.source.clone().map_or(Value::Null, Value::Text),
                declaration.model.clone().map_or(Value::Null, Value::Text),
                declaration.source.as_ref().map_or(Value::Null, |_| Value::Integer(embedding.left)),
                embedding.problem.map_or(Value::Null, Value::Text),
                declaration.max_memory_bytes.map_or(Value::Null, |bytes| Value::Integer(bytes as i64)),
                Value::Integer(figures.mapped_bytes as i64),
                figures.memory_problem.map_or(Value::Null, Value::Text),
            ];
            rows.push(Row { rowid: None, values });
        }
        Ok(rows)
    }
}

/// Lists rows that were left out, as JSON.
fn refused(figures: &Figures) -> String {
    let list = figures.refused.iter().take(REFUSED_MAX).map(|(key, reason)| {
        let key = match key.shown() {
            Value::Integer(number) => number.into(),
            Value::Real(number) => number.into(),
            Value::Text(text) => text.into(),
            Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            Value::Null => serde_json::Value::Null,
        };
        serde_json::json!({ "key": key, "reason": reason })
    });
    serde_json::Value::Array(list.collect()).to_string()
}

impl TableFunction for Stats {
    type Aux = Arc<Held>;
    type Rows = Listed;

    fn open(db: *mut ffi::sqlite3, held: &Arc<Held>) -> Self {
        Self { db, held: Arc::clone(held) }
    }

    fn name(&self) -> &'static CStr {
        NAME
    }

    fn columns(&self) -> &'static CStr {
        COLUMNS
    }

    fn plan(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        info.set_estimated_cost(1000.0);
        Ok(true)
    }

    fn ask(this: &Rc<Self>, _: &Asked<'_>) -> rusqlite::Result<Listed> {
        Ok(Listed::new(this.read()?, Vec::new()))
    }
}
