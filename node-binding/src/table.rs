//! Virtual tables whose rows are made by generators of JavaScript.
//!
//! `lib/methods/table.js` checks definitions and rows; here each read of a table is a function that returns the next row's columns
//! as an array, or undefined at the end.

use std::rc::Rc;

use kithdb_sqlite::{Table, TableRows, Value, ValueRef};
use napi_sys::ValueType;

use crate::database::{Db, check};
use crate::function::{Unfit, during, take};
use crate::js::{Answer, Js, Kept, Thrown, Val};
use crate::row::value;

struct JsTable {
    js: Js,
    module: String,
    columns: Vec<String>,
    parameters: Vec<String>,
    is_safe: bool,
    is_direct_only: bool,
    open: Kept,
}

struct JsRows {
    js: Js,
    module: String,
    next: Kept,
}

impl JsTable {
    /// Takes a checked definition: columns, parameters, whether integers are bigints, whether views may not
    /// read it, the function that begins to read.
    fn of(js: Js, module: &str, definition: Val) -> Answer<Self> {
        let texts = |array: Val| -> Answer<Vec<String>> {
            (0..js.array_len(array)?).map(|index| js.string_of(js.element(array, index)?)).collect()
        };
        Ok(Self {
            js,
            module: module.to_owned(),
            columns: texts(js.element(definition, 0)?)?,
            parameters: texts(js.element(definition, 1)?)?,
            is_safe: js.truth(js.element(definition, 2)?)?,
            is_direct_only: js.truth(js.element(definition, 3)?)?,
            open: Kept::new(js, js.element(definition, 4)?)?,
        })
    }
}

impl Table for JsTable {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn parameters(&self) -> &[String] {
        &self.parameters
    }

    fn is_direct_only(&self) -> bool {
        self.is_direct_only
    }

    fn open(&self, parameters: &[Option<ValueRef<'_>>]) -> Result<Box<dyn TableRows>, String> {
        let js = self.js;
        let next = during(js, || {
            let mut arguments = Vec::with_capacity(parameters.len());
            for parameter in parameters {
                arguments.push(match parameter {
                    Some(given) => value(js, *given, self.is_safe)?,
                    None => js.undefined()?,
                });
            }
            Kept::new(js, js.call(self.open.get(js)?, &arguments)?)
        })?;
        Ok(Box::new(JsRows { js, module: self.module.clone(), next }))
    }
}

impl TableRows for JsRows {
    fn next(&mut self) -> Result<Option<Vec<Value>>, String> {
        let js = self.js;
        during(js, || {
            let row = js.call(self.next.get(js)?, &[])?;
            if js.kind(row)? == ValueType::napi_undefined {
                return Ok(None);
            }
            let mut values = Vec::new();
            for index in 0..js.array_len(row)? {
                let given = js.element(row, index)?;
                values.push(take(js, given)?.map_err(|unfit| match unfit {
                    Unfit::Invalid => {
                        Thrown::Type(format!("Virtual table module \"{}\" yielded an invalid value", self.module))
                    }
                    Unfit::TooBig => Thrown::Range(format!(
                        "Virtual table module \"{}\" yielded a bigint that was too big",
                        self.module
                    )),
                })?);
            }
            Ok(Some(values))
        })
    }
}

/// Defines a table that is there without being created: database, name, definition.
pub(crate) fn define(js: Js, given: &[Val]) -> Answer {
    let (db, name, definition) = target(js, given)?;
    let table = JsTable::of(js, &name, definition)?;
    db.has_functions.set(true);
    db.database.create_eponymous_table(&name, Rc::new(table))?;
    js.undefined()
}

/// Defines a module for CREATE VIRTUAL TABLE: database, name, function that returns a definition for the
/// module's name as the statement has it, the database, the table, and the statement's arguments.
pub(crate) fn define_module(js: Js, given: &[Val]) -> Answer {
    let (db, name, make) = target(js, given)?;
    let make = Kept::new(js, make)?;
    db.has_functions.set(true);
    db.database.create_table_module(&name, move |request| {
        during(js, || {
            let names = [&request.module, &request.database, &request.table];
            let given = names.into_iter().chain(&request.arguments);
            let arguments: Vec<Val> = given.map(|text| js.string(text.as_bytes())).collect::<Answer<_>>()?;
            let definition = js.call(make.get(js)?, &arguments)?;
            let table: Rc<dyn Table> = Rc::new(JsTable::of(js, &request.module, definition)?);
            Ok(table)
        })
    })?;
    js.undefined()
}

fn target<'v>(js: Js, given: &[Val]) -> Answer<(&'v Rc<Db>, String, Val)> {
    let &[db, name, third] = given else {
        return Err(Thrown::Plain("a table is defined with three arguments".to_owned()));
    };
    check(js, given)?;
    Ok((js.native::<Rc<Db>>(db)?, js.string_of(name)?, third))
}
