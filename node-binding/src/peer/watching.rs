//! Live queries: when the file has changed, and whether that changed what a query may find.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use kithdb_peer::FileWatch;
use kithdb_sqlite::{Step, ValueRef};

use super::{missing, number};
use crate::database::Db;
use crate::js::{Answer, Js, Thrown, Val};

/// Watches a database file, or ends that: number, file or undefined. Posts `changed` when any program has written to it.
pub(crate) fn watch(js: Js, arguments: &[Val]) -> Answer {
    let &[id, path] = arguments else { return missing() };
    let id = number(js, id)?;
    let office = &js.instance().office;
    if js.kind(path)? != napi_sys::ValueType::napi_string {
        office.watches.borrow_mut().remove(&id);
        return js.undefined();
    }
    let mailbox = Arc::clone(office.mailbox()?);
    let path = PathBuf::from(js.string_of(path)?);
    let watch = FileWatch::start(&path, move || mailbox.post_once(id, "changed"))
        .map_err(|error| Thrown::Plain(format!("the file system gives no events: {error}")))?;
    office.watches.borrow_mut().insert(id, watch);
    js.undefined()
}

/// Tells three numbers of a database, of which one changes with every commit that this connection sees: the commits of others,
/// the schema, the rows that were changed here.
pub(crate) fn mark(js: Js, arguments: &[Val]) -> Answer {
    let Some(&db) = arguments.first() else { return missing() };
    let db = js.native::<Rc<Db>>(db)?;
    db.check_open()?;
    db.check_not_executing()?;
    // Not by the application's way to run SQL, which tells `verbose` of each statement.
    for (index, pragma) in ["PRAGMA data_version", "PRAGMA schema_version"].into_iter().enumerate() {
        let (statement, _) = db.database.prepare(pragma)?;
        if let Some(statement) = statement
            && statement.step()? == Step::Row
            && let ValueRef::Integer(version) = statement.column(0)
        {
            js.instance().tell(index, version as f64);
        }
    }
    js.instance().tell(2, db.database.total_changes() as f64);
    js.undefined()
}
