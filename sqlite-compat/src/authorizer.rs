//! An authorizer of the application's: asked, while a statement is compiled, about each thing that it wants to do.
//!
//! On a replica SQLite's place for it is capture's, which asks the application's about what it does not refuse itself.

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use kithdb_core::capture::{Access, Authorizer};
use rusqlite::ffi;

use crate::connection::{Backing, Database};
use crate::error::SqliteError;

impl Database {
    /// Sets the authorizer, or takes it away. Statements that are compiled are compiled again before they run next.
    pub fn set_authorizer(&self, authorizer: Option<Authorizer>) -> Result<(), SqliteError> {
        let db = self.db()?;
        if let Some(Backing::Replica(replica)) = self.shared.backing().as_ref() {
            return replica.set_authorizer(authorizer).map_err(|_| self.shared.failure(ffi::SQLITE_ERROR));
        }
        let callback = authorizer.is_some().then_some(authorize as _);
        let kept = self.shared.keep_authorizer(authorizer);
        // SAFETY: the handle is open; what is kept stays until another is, or until the connection is closed.
        self.shared.check(unsafe { ffi::sqlite3_set_authorizer(db, callback, kept.cast_mut().cast()) })
    }
}

/// # Safety
/// To be called by SQLite with the authorizer that `set_authorizer` keeps, and with C strings or null pointers.
unsafe extern "C" fn authorize(
    context: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    trigger: *const c_char,
) -> c_int {
    // SAFETY: the authorizer is kept while it is set; the names live for the call. A copy is asked, for it may be replaced meanwhile.
    let (ask, access) = unsafe {
        let ask = (*context.cast::<Authorizer>()).clone();
        (ask, Access::of_raw(action, [first, second, database, trigger]))
    };
    catch_unwind(AssertUnwindSafe(|| ask(&access))).unwrap_or(ffi::SQLITE_DENY)
}

/// Returns where an authorizer lies.
pub(crate) fn place(authorizer: Option<&Authorizer>) -> *const Authorizer {
    authorizer.map_or(ptr::null(), ptr::from_ref)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::open::OpenOptions;

    fn memory(is_replica: bool) -> Database {
        let options = OpenOptions::default();
        let database = Database::open(":memory:", &options).expect("opens");
        if is_replica {
            database.found(":memory:", "laptop", &options).expect("the workspace is founded");
        }
        database.execute_batch("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)").expect("runs");
        if is_replica {
            database.execute_batch("SELECT kith_sync('notes')").expect("runs");
        }
        database
    }

    #[test]
    fn authorizer_is_asked_of_plain_and_synced_tables_and_not_about_statements_of_ours() {
        for is_replica in [false, true] {
            let database = memory(is_replica);
            let seen = Rc::new(RefCell::new(Vec::new()));
            let log = Rc::clone(&seen);
            let ask: Authorizer = Rc::new(move |access: &Access<'_>| {
                log.borrow_mut().push((access.action, access.first.unwrap_or_default().to_owned()));
                ffi::SQLITE_OK
            });
            database.set_authorizer(Some(ask)).expect("is set");
            database.execute_batch("INSERT INTO notes VALUES(1, 'one')").expect("runs");
            assert_eq!(seen.take(), [(ffi::SQLITE_INSERT, "notes".to_owned())], "replica: {is_replica}");
            database.set_authorizer(None).expect("is taken away");
            database.execute_batch("DELETE FROM notes").expect("runs");
            assert_eq!(seen.take(), []);
            database.close().expect("closes");
        }
    }

    #[test]
    fn what_is_denied_is_not_done_and_ours_stays_refused() {
        for is_replica in [false, true] {
            let database = memory(is_replica);
            let statement = database.prepare("DELETE FROM notes").expect("compiles").0.expect("is there");
            let deny: Authorizer =
                Rc::new(
                    |access: &Access<'_>| {
                        if access.action == ffi::SQLITE_DELETE { ffi::SQLITE_DENY } else { ffi::SQLITE_OK }
                    },
                );
            database.set_authorizer(Some(deny)).expect("is set");
            let denied = statement.step().expect_err("is denied, though it was compiled before");
            assert_eq!((denied.name().as_ref(), denied.message.as_str()), ("SQLITE_AUTH", "not authorized"));
            if is_replica {
                let refused = database.execute_batch("ALTER TABLE notes ADD COLUMN more").expect_err("is refused");
                assert!(refused.message.contains("is synced and cannot be altered"), "{refused}");
            }
        }
    }
}
