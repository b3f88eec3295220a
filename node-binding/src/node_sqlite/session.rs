//! Sessions and changesets, as JavaScript holds them.

use std::rc::Rc;

use kithdb_sqlite::{Applied, Conflicts, Session};
use napi_sys::ValueType;

use super::database::{db, enter, few};
use super::errors::invalid_state;
use super::values::{bytes_of, uint8_array};
use crate::database::Db;
use crate::function::during;
use crate::js::{Answer, Js, Val};

struct HeldSession {
    db: Rc<Db>,
    session: Session,
}

/// Begins: database, name of its part, table or undefined for all.
pub(super) fn create(js: Js, arguments: &[Val]) -> Answer {
    let &[_, schema, table] = arguments else { return few() };
    let db = db(js, arguments)?;
    enter(js, db)?;
    let is_one = js.kind(table)? == ValueType::napi_string;
    let table = if is_one { Some(js.string_of(table)?) } else { None };
    let session = db.database.create_session(&js.string_of(schema)?, table.as_deref())?;
    js.external(HeldSession { db: Rc::clone(db), session })
}

fn held<'v>(js: Js, arguments: &[Val]) -> Answer<&'v HeldSession> {
    match arguments.first() {
        Some(value) => js.native::<HeldSession>(*value),
        None => few(),
    }
}

fn check(js: Js, held: &HeldSession) -> Answer<()> {
    enter(js, &held.db)?;
    if held.session.is_open() { Ok(()) } else { invalid_state(js, "session is not open") }
}

/// Returns the changes so far: session, whether as a patchset.
pub(super) fn take(js: Js, arguments: &[Val]) -> Answer {
    let held = held(js, arguments)?;
    check(js, held)?;
    let is_patch = arguments.get(1).map_or(Ok(false), |patch| js.truth(*patch))?;
    uint8_array(js, &if is_patch { held.session.patchset()? } else { held.session.changeset()? })
}

/// Ends: session, whether one that has ended is an error.
pub(super) fn close(js: Js, arguments: &[Val]) -> Answer {
    let held = held(js, arguments)?;
    let is_strict = arguments.get(1).map_or(Ok(false), |strict| js.truth(*strict))?;
    if is_strict {
        check(js, held)?;
    }
    if held.session.is_open() {
        if held.db.is_executing.get() {
            return invalid_state(js, "session cannot be closed while in a callback");
        }
        held.session.close();
    }
    js.undefined()
}

/// What the caller says about tables and conflicts.
struct Asked {
    js: Js,
    filter: Option<Val>,
    on_conflict: Option<Val>,
}

/// What aborts a changeset: the answer for it, and for what is none.
const ABORT: i32 = 2;
const NO_ANSWER: i32 = -1;

impl Conflicts for Asked {
    fn wants(&mut self, table: &str) -> bool {
        let Some(filter) = self.filter else { return true };
        let js = self.js;
        // What is thrown ends the call with that; until then nothing more is wanted.
        during(js, || js.truth(js.call(filter, &[js.string(table.as_bytes())?])?)).unwrap_or(false)
    }

    fn resolve(&mut self, kind: i32) -> i32 {
        let Some(on_conflict) = self.on_conflict else { return ABORT };
        let js = self.js;
        let answer = during(js, || {
            let answer = js.call(on_conflict, &[js.int32(kind)?])?;
            if js.kind(answer)? == ValueType::napi_number { js.integer(answer) } else { Ok(NO_ANSWER) }
        });
        answer.unwrap_or(ABORT)
    }
}

/// Applies: database, bytes, filter that returns a boolean or undefined, what is asked about conflicts or undefined.
pub(super) fn apply(js: Js, arguments: &[Val]) -> Answer {
    let &[_, changeset, filter, on_conflict] = arguments else { return few() };
    let db = db(js, arguments)?;
    enter(js, db)?;
    let function =
        |value| -> Answer<Option<Val>> { Ok((js.kind(value)? == ValueType::napi_function).then_some(value)) };
    let mut asked = Asked { js, filter: function(filter)?, on_conflict: function(on_conflict)? };
    // Copied, for JavaScript runs meanwhile.
    let changeset = bytes_of(js, changeset)?.unwrap_or_default().to_vec();
    let was_executing = db.is_executing.replace(true);
    let applied = db.database.apply_changeset(&changeset, &mut asked);
    db.is_executing.set(was_executing);
    if js.has_exception() {
        return Err(crate::js::Thrown::Pending);
    }
    js.boolean(applied? == Applied::Whole)
}
