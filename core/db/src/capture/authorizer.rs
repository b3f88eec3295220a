//! The authorizer: refuses what would pull a synced table, or KithDB's own tables, out from under the log.
//!
//! Invariants:
//! 1. Only the `main` database is guarded (and names in `temp` that would hide ours): VACUUM writes its copy to another one.
//! 2. What is refused leaves a reason for [`super::Capture::take_refusal`]; SQLite itself only says "not authorized".
//! 3. An authorizer of the application's is asked about what is left of its statements, not about what KithDB does for them.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, ffi};

use super::state::State;

/// What a statement that is being compiled wants to do; what the names stand for depends on the action, as SQLite documents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access<'a> {
    /// SQLite's number for the action.
    pub action: c_int,
    /// Mostly a table's name.
    pub first: Option<&'a str>,
    /// Mostly a column's name.
    pub second: Option<&'a str>,
    /// The name of the database.
    pub database: Option<&'a str>,
    /// The trigger or view that the access comes from.
    pub trigger: Option<&'a str>,
}

impl<'a> Access<'a> {
    /// Reads what SQLite hands to an authorizer.
    ///
    /// # Safety
    /// The names must be null or C strings that live for `'a`.
    pub unsafe fn of_raw(action: c_int, names: [*const c_char; 4]) -> Self {
        // SAFETY: as promised by our caller.
        let [first, second, database, trigger] = names.map(|name| unsafe { text(name) });
        Self { action, first, second, database, trigger }
    }
}

/// Answers with `SQLITE_OK`, `SQLITE_DENY` or `SQLITE_IGNORE`; asked on the thread that uses the connection.
pub type Authorizer = Rc<dyn Fn(&Access<'_>) -> c_int>;

/// Registers the authorizer.
///
/// # Safety
/// `state` must stay valid until the connection is closed.
pub(super) unsafe fn install(conn: &Connection, state: *const State) -> rusqlite::Result<()> {
    // SAFETY: the handle is open, and the caller keeps `state` valid for as long as SQLite may call the authorizer.
    super::check(unsafe {
        ffi::sqlite3_set_authorizer(conn.handle(), Some(authorize), state.cast_mut().cast::<c_void>())
    })
}

/// # Safety
/// To be called by SQLite with the context given in [`install`] and C strings or null pointers.
unsafe extern "C" fn authorize(
    context: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    trigger: *const c_char,
) -> c_int {
    // SAFETY: the context is the state, which outlives the connection's callbacks.
    let state = unsafe { &*context.cast::<State>() };
    let asked = state.authorizer.borrow().clone();
    if !is_guarded(action) && asked.is_none() || state.is_ours() {
        return ffi::SQLITE_OK;
    }
    // SAFETY: SQLite's names live for the call.
    let access = unsafe { Access::of_raw(action, [first, second, database, trigger]) };
    // A nameless database, such as VACUUM attaches, has no triggers yet; a name that is null is known when the statement runs only.
    // SAFETY: SQLite's names are C strings or null.
    let is_nameless = action == ffi::SQLITE_ATTACH && !first.is_null() && unsafe { *first } == 0;
    if is_guarded(action) && !is_nameless {
        match catch_unwind(AssertUnwindSafe(|| judge(state, &access))) {
            Ok(None) => {}
            Ok(Some(reason)) => {
                state.refuse(reason);
                return ffi::SQLITE_DENY;
            }
            Err(_) => return ffi::SQLITE_DENY,
        }
    }
    let ask = || asked.map_or(ffi::SQLITE_OK, |ask| ask(&access));
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or(ffi::SQLITE_DENY)
}

/// # Safety
/// `name` must be null or a C string that lives for `'a`.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: as promised by our caller.
    Some(unsafe { CStr::from_ptr(name) }.to_str().unwrap_or(""))
}

/// Tells whether an action can be refused at all: reads, the most frequent, never are.
fn is_guarded(action: c_int) -> bool {
    !matches!(
        action,
        ffi::SQLITE_READ | ffi::SQLITE_SELECT | ffi::SQLITE_FUNCTION | ffi::SQLITE_TRANSACTION | ffi::SQLITE_SAVEPOINT
    )
}

/// Returns why an action of the user is refused, if it is.
fn judge(state: &State, access: &Access<'_>) -> Option<String> {
    let [first, second, database, trigger] =
        [access.first, access.second, access.database, access.trigger].map(Option::unwrap_or_default);
    let action = access.action;
    match action {
        ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => {
            // Triggers of ours on synced tables note what other programs write.
            (is_own(first) && is_main(database) && !is_own(trigger)).then(|| own(first))
        }
        ffi::SQLITE_ALTER_TABLE => {
            touch(state);
            is_main(first).then(|| guarded(state, second, "altered")).flatten()
        }
        ffi::SQLITE_DROP_TABLE | ffi::SQLITE_DROP_VTABLE => {
            touch(state);
            is_main(database).then(|| guarded(state, first, "dropped")).flatten()
        }
        ffi::SQLITE_DROP_VIEW | ffi::SQLITE_CREATE_TABLE | ffi::SQLITE_CREATE_VIEW | ffi::SQLITE_CREATE_VTABLE => {
            touch(state);
            (is_main(database) && is_own(first)).then(|| reserved(first))
        }
        ffi::SQLITE_CREATE_TEMP_TABLE | ffi::SQLITE_CREATE_TEMP_VIEW => is_own(first).then(|| reserved(first)),
        ffi::SQLITE_ATTACH => {
            state.currency.enable_triggers(state.db, true);
            None
        }
        ffi::SQLITE_CREATE_INDEX | ffi::SQLITE_CREATE_TRIGGER => {
            touch(state);
            if action == ffi::SQLITE_CREATE_TRIGGER {
                state.currency.enable_triggers(state.db, !is_main(database));
            }
            if !is_main(database) {
                None
            } else if is_own(second) {
                Some(own(second))
            } else {
                is_own(first).then(|| reserved(first))
            }
        }
        ffi::SQLITE_DROP_INDEX | ffi::SQLITE_DROP_TRIGGER => {
            touch(state);
            (is_main(database) && (is_own(first) || is_own(second))).then(|| own(first))
        }
        ffi::SQLITE_CREATE_TEMP_TRIGGER => is_own(second).then(|| own(second)),
        _ => None,
    }
}

fn touch(state: &State) {
    state.schema_touched.store(true, Ordering::Relaxed);
}

fn is_main(database: &str) -> bool {
    database.eq_ignore_ascii_case("main")
}

/// Tells whether a name is one of ours.
fn is_own(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("kith_"))
}

fn guarded(state: &State, table: &str, what: &str) -> Option<String> {
    if is_own(table) {
        return Some(own(table));
    }
    state.shapes.borrow().contains(table).then(|| {
        format!(
            "{table} is synced and cannot be {what}: schema changes of synced tables are not supported yet; \
             call kith_unsync('{table}') first (in this version the table cannot be synced again afterwards)"
        )
    })
}

fn own(name: &str) -> String {
    format!("{name} belongs to KithDB and is changed by KithDB only; use the kith_ functions or the kith command")
}

fn reserved(name: &str) -> String {
    format!("the name {name} is refused because names that start with kith_ belong to KithDB; choose another name")
}
