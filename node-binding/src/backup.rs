//! An online backup, step by step; `lib/methods/backup.js` has the loop.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kithdb_sqlite::{Backup, Database, OpenOptions};

use crate::database::Db;
use crate::js::{Answer, Js, Thrown, Val};

pub(crate) struct Held {
    pub(crate) db: Rc<Db>,
    pub(crate) backup: Rc<RefCell<Backup>>,
}

/// Begins: database, name of the attached database, file.
pub(crate) fn begin(js: Js, arguments: &[Val]) -> Answer {
    let &[db, schema, path] = arguments else {
        return Err(Thrown::Plain("a backup is begun with three arguments".to_owned()));
    };
    let db = js.native::<Rc<Db>>(db)?;
    db.check_open()?;
    db.check_not_executing()?;
    // Whoever holds a lock on the file may be in this program, which is not to stand still for it: JavaScript tries again.
    let options = OpenOptions { busy_timeout: Duration::ZERO, ..OpenOptions::default() };
    let destination = Database::open(&js.string_of(path)?, &options)?;
    let backup = Rc::new(RefCell::new(Backup::begin(&db.database, &js.string_of(schema)?, destination)?));
    db.add_backup(&backup);
    js.external(Held { db: Rc::clone(db), backup })
}

/// Copies some pages; tells the pages in all, those that remain, whether all is done, and whether a lock was in the way.
pub(crate) fn step(js: Js, arguments: &[Val]) -> Answer {
    let &[held, pages] = arguments else {
        return Err(Thrown::Plain("a backup's step takes two arguments".to_owned()));
    };
    let held = js.native::<Held>(held)?;
    held.db.check_open()?;
    held.db.check_not_executing()?;
    let progress = held.backup.borrow_mut().step(js.integer(pages)?)?;
    js.instance().tell(0, progress.total.into());
    js.instance().tell(1, progress.remaining.into());
    js.instance().tell(2, f64::from(progress.is_done));
    js.instance().tell(3, f64::from(progress.is_blocked()));
    js.undefined()
}

/// Ends, whether all was copied or not.
pub(crate) fn end(js: Js, arguments: &[Val]) -> Answer {
    if let Some(held) = arguments.first() {
        js.native::<Held>(*held)?.backup.borrow_mut().finish();
    }
    js.undefined()
}
