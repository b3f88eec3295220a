//! Virtual tables whose rows come from an iterable of JavaScript.
//!
//! `lib/node-sqlite/module.js` checks definitions and walks the iterables. What it returns in place of a function or of a row, if
//! it is text, is an error of SQLite's.

use std::rc::Rc;

use kithdb_sqlite::{Table, TableRows, Value, ValueRef};
use napi_sys::ValueType;

use super::database::{db, enter, few};
use super::values::{take, value};
use super::{is_within, speak};
use crate::function::during;
use crate::js::{Answer, Js, Kept, Val};

struct NodeTable {
    js: Js,
    columns: Vec<String>,
    parameters: Vec<String>,
    types: Vec<String>,
    is_safe: bool,
    is_direct_only: bool,
    open: Kept,
}

struct NodeRows {
    js: Js,
    next: Kept,
    end: Kept,
}

impl Table for NodeTable {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn parameters(&self) -> &[String] {
        &self.parameters
    }

    fn declared_type(&self, index: usize) -> Option<&str> {
        self.types.get(index).map(String::as_str)
    }

    fn is_lenient(&self) -> bool {
        true
    }

    fn is_direct_only(&self) -> bool {
        self.is_direct_only
    }

    fn open(&self, parameters: &[Option<ValueRef<'_>>]) -> Result<Box<dyn TableRows>, String> {
        let js = self.js;
        let open = || -> Answer<Result<Box<dyn TableRows>, String>> {
            let given = parameters.iter().map(|given| value(js, given.unwrap_or(ValueRef::Null), self.is_safe));
            let opened = js.call(self.open.get(js)?, &given.collect::<Answer<Vec<_>>>()?)?;
            if js.kind(opened)? == ValueType::napi_string {
                return Ok(Err(js.string_of(opened)?));
            }
            let (next, end) = (Kept::new(js, js.element(opened, 0)?)?, Kept::new(js, js.element(opened, 1)?)?);
            Ok(Ok(Box::new(NodeRows { js, next, end })))
        };
        during(js, || speak(js, open()))?
    }
}

impl NodeRows {
    fn take_next(&self) -> Answer<Result<Option<Vec<Value>>, String>> {
        let js = self.js;
        let row = js.call(self.next.get(js)?, &[])?;
        match js.kind(row)? {
            ValueType::napi_undefined => return Ok(Ok(None)),
            ValueType::napi_string => return Ok(Err(js.string_of(row)?)),
            _ => {}
        }
        let mut values = Vec::new();
        for index in 0..js.array_len(row)? {
            match take(js, js.element(row, index)?)? {
                Ok(value) => values.push(value),
                Err(message) => return Ok(Err(message)),
            }
        }
        Ok(Ok(Some(values)))
    }
}

impl TableRows for NodeRows {
    fn next(&mut self) -> Result<Option<Vec<Value>>, String> {
        during(self.js, || self.take_next())?
    }

    fn end(&mut self) {
        // Nothing runs for what the collector takes.
        if is_within() {
            let js = self.js;
            // What is thrown is seen when the native call returns.
            let _ = during(js, || js.call(self.end.get(js)?, &[]));
        }
    }
}

/// Defines a table: database, name, columns, parameters, the types of both, whether integers are bigints, whether views may not
/// read it, and the function that begins to read.
pub(super) fn define(js: Js, given: &[Val]) -> Answer {
    let &[_, name, columns, parameters, types, is_safe, is_direct_only, open] = given else { return few() };
    let db = db(js, given)?;
    enter(js, db)?;
    let texts = |array: Val| -> Answer<Vec<String>> {
        (0..js.array_len(array)?).map(|index| js.string_of(js.element(array, index)?)).collect()
    };
    let table = NodeTable {
        js,
        columns: texts(columns)?,
        parameters: texts(parameters)?,
        types: texts(types)?,
        is_safe: js.truth(is_safe)?,
        is_direct_only: js.truth(is_direct_only)?,
        open: Kept::new(js, open)?,
    };
    db.has_functions.set(true);
    db.database.create_table(&js.string_of(name)?, Rc::new(table))?;
    js.undefined()
}
