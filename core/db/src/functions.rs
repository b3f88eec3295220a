//! SQL functions that every connection of a replica has.

use std::ffi::CString;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Error};

use crate::define;
use crate::error::SyncTableError;
use crate::follow::Follow;
use kithdb_search::text::{self, Change};

/// What our connections say yes to, so that the triggers for other programs stay silent.
const CAPTURE_OPTION: &str = "KITH_CAPTURE";

/// Registers the functions; those that change something cannot be called from a schema.
pub(crate) fn register(conn: &Connection, follow: &Follow) -> rusqlite::Result<()> {
    let direct = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("sqlite_compileoption_used", 1, pure, compile_option_used)?;
    let shared = follow.share();
    conn.create_scalar_function("kith_sync", 1, direct, move |context| {
        let name = table_argument(context)?;
        with_connection(context, |conn| {
            let _quiet = shared.capture.internal(conn);
            let report = define::sync(conn, &name).map_err(user_error)?;
            shared.reload(conn).map_err(user_error)?;
            Ok(report.to_json())
        })
    })?;
    conn.create_scalar_function("kith_sync", 2, direct, |context| {
        let table = table_argument(context)?;
        Err::<String, _>(user_error(SyncTableError::OptionsNotSupported { table }))
    })?;
    let shared = follow.share();
    conn.create_scalar_function("kith_unsync", 1, direct, move |context| {
        let name = table_argument(context)?;
        with_connection(context, |conn| {
            let _quiet = shared.capture.internal(conn);
            let table = define::unsync(conn, &name).map_err(user_error)?;
            shared.reload(conn).map_err(user_error)?;
            Ok(table)
        })
    })?;
    register_text(conn, follow)
}

/// Registers what makes and drops text indexes: a schema change of ours, which capture and the authorizer let pass.
fn register_text(conn: &Connection, follow: &Follow) -> rusqlite::Result<()> {
    for (change, name, counts) in Change::ALL {
        for &count in counts {
            let shared = follow.share();
            conn.create_scalar_function(name, count, text::flags(), move |context| {
                with_connection(context, |conn| {
                    let _quiet = shared.capture.internal(conn);
                    let report = text::call(change, context, conn)?;
                    // The new triggers may be the first that this connection has to run.
                    shared.reload(conn).map_err(user_error)?;
                    Ok(report)
                })
            })?;
        }
    }
    Ok(())
}

fn table_argument(context: &Context<'_>) -> rusqlite::Result<String> {
    match context.get_raw(0) {
        rusqlite::types::ValueRef::Text(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(Error::UserFunctionError("the first argument is the table's name, as text".into())),
    }
}

fn user_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::UserFunctionError(Box::new(error))
}

fn with_connection<T>(
    context: &Context<'_>,
    run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // SAFETY: the reference lives no longer than this call, and stays on the thread that runs the statement.
    let conn = unsafe { context.get_connection() }?;
    run(&conn)
}

fn compile_option_used(context: &Context<'_>) -> rusqlite::Result<Option<bool>> {
    let rusqlite::types::ValueRef::Text(name) = context.get_raw(0) else { return Ok(None) };
    if name == CAPTURE_OPTION.as_bytes() {
        return Ok(Some(true));
    }
    let Ok(name) = CString::new(name) else { return Ok(Some(false)) };
    // SAFETY: the argument is a terminated string that outlives the call, which only compares it.
    let used = unsafe { rusqlite::ffi::sqlite3_compileoption_used(name.as_ptr()) };
    Ok(Some(used != 0))
}
