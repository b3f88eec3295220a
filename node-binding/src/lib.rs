//! The addon behind the `kithdb` package for Node: what JavaScript cannot do, or not as fast.
//!
//! The classes that users see are in `lib/`; here are the native functions under them. A database, a statement, a backup is an
//! external value, which never leaves our own JavaScript. Rows are made by functions that JavaScript compiles for the statement
//! (`lib/rows.js`) and that are called with the values of many rows at once.

mod backup;
mod bind;
mod blobs;
mod callback;
mod database;
mod function;
mod instance;
mod js;
mod node_sqlite;
mod peer;
mod row;
mod statement;
mod table;

use std::ffi::c_char;
use std::ptr;

use napi_sys as sys;

use crate::instance::Instance;
use crate::js::{Native, enter};

/// Adds native functions to the addon's exports.
macro_rules! export {
    ($env:expr, $exports:expr, $instance:expr, $($name:literal => $native:path,)*) => {$({
        /// # Safety
        /// To be called by Node.
        unsafe extern "C" fn callback(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
            const NATIVE: Native = $native;
            // SAFETY: called by Node, with the instance as data, as set below.
            unsafe { enter(env, info, NATIVE) }
        }
        let name = concat!($name, "\0").as_ptr().cast::<c_char>();
        let mut function = ptr::null_mut();
        // SAFETY: called while the module is registered; the name is a C string, and the instance lives as long as the environment.
        unsafe {
            sys::napi_create_function($env, name, -1, Some(callback), $instance.cast_mut().cast(), &raw mut function);
            sys::napi_set_named_property($env, $exports, name, function);
        }
    })*};
}

/// Tells Node which version of Node-API the addon needs.
#[unsafe(no_mangle)]
pub extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}

/// Makes the addon's exports for one environment.
///
/// # Safety
/// To be called by Node when it loads the addon.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn napi_register_module_v1(env: sys::napi_env, exports: sys::napi_value) -> sys::napi_value {
    kithdb_sqlite::configure_process();
    // SAFETY: the environment is being set up, by the thread that calls.
    let instance: *const Instance = unsafe { Instance::install(env) };
    export!(env, exports, instance,
        "init" => instance::init,
        "open" => database::open,
        "close" => database::close,
        "exec" => database::exec,
        "isOpen" => database::is_open,
        "inTransaction" => database::in_transaction,
        "isReplica" => database::is_replica,
        "found" => database::found,
        "unsafeMode" => database::unsafe_mode,
        "checkIdle" => database::check_idle,
        "loadExtension" => database::load_extension,
        "serialize" => database::serialize,
        "prepare" => statement::prepare,
        "explain" => statement::explain,
        "expanded" => statement::expanded,
        "run" => statement::run,
        "get" => statement::get,
        "all" => statement::all,
        "bind" => statement::bind,
        "iterate" => statement::iterate,
        "next" => statement::next,
        "end" => statement::end,
        "setMode" => statement::set_mode,
        "setSafe" => statement::set_safe,
        "columns" => statement::columns,
        "defineFunction" => function::define,
        "defineAggregate" => function::define_aggregate,
        "defineTable" => table::define,
        "defineModule" => table::define_module,
        "backupBegin" => backup::begin,
        "backupStep" => backup::step,
        "backupEnd" => backup::end,
        "callbackBegin" => callback::begin,
        "callbackUse" => callback::use_statement,
        "callbackSubmit" => callback::submit,
        "callbackInterrupt" => callback::interrupt,
        "callbackReport" => callback::report_error,
        "callbackEnd" => callback::end,
        "callbackInTransaction" => callback::in_transaction,
        "callbackVersion" => callback::version,
        "fileOf" => peer::file,
        "peerListen" => peer::listen,
        "peerHold" => peer::hold,
        "peerOpen" => peer::open,
        "peerStatus" => peer::status,
        "peerClose" => peer::close,
        "peerInvite" => peer::invite,
        "peerJoin" => peer::join,
        "reopen" => peer::reopen,
        "watch" => peer::watch,
        "mark" => peer::mark,
    );
    export!(env, exports, instance,
        "nodeOpen" => node_sqlite::open,
        "nodeClose" => node_sqlite::close,
        "nodeExec" => node_sqlite::exec,
        "nodeCheck" => node_sqlite::check,
        "nodeCheckIdle" => node_sqlite::check_idle,
        "nodeIsIdle" => node_sqlite::is_idle,
        "nodeLocation" => node_sqlite::location,
        "nodeLimit" => node_sqlite::limit,
        "nodeSetDefensive" => node_sqlite::set_defensive,
        "nodeLoadExtension" => node_sqlite::load_extension,
        "nodeSerialize" => node_sqlite::serialize,
        "nodeDeserialize" => node_sqlite::deserialize,
        "nodeBackupBegin" => node_sqlite::backup_begin,
        "nodeBackupStep" => node_sqlite::backup_step,
        "nodeDefineFunction" => node_sqlite::define_function,
        "nodeDefineAggregate" => node_sqlite::define_aggregate,
        "nodeDefineTable" => node_sqlite::define_table,
        "nodeSetAuthorizer" => node_sqlite::set_authorizer,
        "nodePrepare" => node_sqlite::prepare,
        "nodeRun" => node_sqlite::run,
        "nodeGet" => node_sqlite::get,
        "nodeAll" => node_sqlite::all,
        "nodeIterate" => node_sqlite::iterate,
        "nodeNext" => node_sqlite::next,
        "nodeEnd" => node_sqlite::end,
        "nodeFinalize" => node_sqlite::finalize,
        "nodeSet" => node_sqlite::set,
        "nodeColumns" => node_sqlite::columns,
        "nodeSql" => node_sqlite::sql,
        "nodeCounter" => node_sqlite::counter,
        "nodeCreateSession" => node_sqlite::create_session,
        "nodeTakeChanges" => node_sqlite::take_changes,
        "nodeCloseSession" => node_sqlite::close_session,
        "nodeApplyChangeset" => node_sqlite::apply_changeset,
    );
    exports
}
