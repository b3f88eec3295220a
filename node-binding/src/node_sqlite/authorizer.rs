//! An authorizer that is a function of JavaScript.

use std::rc::Rc;

use kithdb_sqlite::{Access, Authorizer};
use napi_sys::ValueType;

use super::database::{db, enter, few};
use crate::function::during;
use crate::js::{Answer, Js, Kept, Thrown, Val};

const DENY: i32 = 1;
const IGNORE: i32 = 2;

/// Sets the authorizer: database, function, or null to take it away.
pub(super) fn set(js: Js, arguments: &[Val]) -> Answer {
    let db = db(js, arguments)?;
    let Some(&function) = arguments.get(1) else { return few() };
    enter(js, db)?;
    let authorizer = if js.kind(function)? == ValueType::napi_function {
        let (function, db) = (Kept::new(js, function)?, Rc::downgrade(db));
        let ask: Authorizer = Rc::new(move |access| {
            let Some(db) = db.upgrade() else { return DENY };
            let was_authorizing = db.is_authorizing.replace(true);
            let answer = during(js, || ask(js, &function, access));
            db.is_authorizing.set(was_authorizing);
            answer.unwrap_or(DENY)
        });
        Some(ask)
    } else {
        None
    };
    db.database.set_authorizer(authorizer)?;
    js.undefined()
}

fn ask(js: Js, function: &Kept, access: &Access<'_>) -> Answer<i32> {
    let text = |text: Option<&str>| text.map_or_else(|| js.null(), |text| js.string(text.as_bytes()));
    let arguments = [
        js.int32(access.action)?,
        text(access.first)?,
        text(access.second)?,
        text(access.database)?,
        text(access.trigger)?,
    ];
    let answer = js.call(function.get(js)?, &arguments)?;
    let number = if js.kind(answer)? == ValueType::napi_number { js.number(answer)? } else { f64::NAN };
    match number {
        0.0 => Ok(0),
        1.0 => Ok(DENY),
        2.0 => Ok(IGNORE),
        other if other.fract() == 0.0 => {
            Err(Thrown::Range("Authorizer callback returned a invalid authorization code".to_owned()))
        }
        _ => Err(Thrown::Type("Authorizer callback must return an integer authorization code".to_owned())),
    }
}
