//! What the face of node:sqlite has of its own: its errors, its rules for values, and functions under `lib/node-sqlite/`.
//!
//! A database is the same [`crate::database::Db`] as that of the other faces. A statement is another, for it binds by other
//! rules and other things may be done while it runs; what makes its rows is shared.

mod authorizer;
mod bind;
mod database;
mod errors;
mod session;
mod statement;
mod table;
mod values;

use std::cell::Cell;

use crate::js::{Answer, Js, Native, Val};

pub(crate) use errors::speak;
pub(crate) use values::{take, value};

thread_local! {
    /// How deep natives of this face are within one another on this thread.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs something as if no native function were: for what the collector takes.
pub(crate) fn outside<T>(run: impl FnOnce() -> T) -> T {
    let depth = DEPTH.replace(0);
    let out = run();
    DEPTH.set(depth);
    out
}

/// Tells whether a native of this face runs, and not, for one, the collector.
fn is_within() -> bool {
    DEPTH.get() > 0
}

fn within(js: Js, arguments: &[Val], native: Native) -> Answer {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _leave = Leave;
    speak(js, native(js, arguments))
}

/// Makes natives of functions, whose errors are Node's.
macro_rules! natives {
    ($($name:ident => $native:path,)*) => {$(
        pub(crate) fn $name(js: Js, arguments: &[Val]) -> Answer {
            within(js, arguments, $native)
        }
    )*};
}

natives! {
    open => database::open,
    close => database::close,
    exec => database::exec,
    check => database::check,
    check_idle => database::check_idle,
    is_idle => database::is_idle,
    location => database::location,
    limit => database::limit,
    set_defensive => database::set_defensive,
    load_extension => database::load_extension,
    serialize => database::serialize,
    deserialize => database::deserialize,
    backup_begin => database::backup_begin,
    backup_step => crate::backup::step,
    define_function => crate::function::define,
    define_aggregate => crate::function::define_aggregate,
    define_table => table::define,
    set_authorizer => authorizer::set,
    prepare => statement::prepare,
    run => statement::run,
    get => statement::get,
    all => statement::all,
    iterate => statement::iterate,
    next => statement::next,
    end => statement::end,
    finalize => statement::finalize,
    set => statement::set,
    columns => statement::columns,
    sql => statement::sql,
    counter => statement::counter,
    create_session => session::create,
    take_changes => session::take,
    close_session => session::close,
    apply_changeset => session::apply,
}
