//! Arguments of JavaScript into parameters of a statement, by node:sqlite's rules.
//!
//! Invariants:
//! 1. What is lent lies in the statement's own arena, which is cleared after the bindings were.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use kithdb_sqlite::Statement;
use napi_sys as sys;
use napi_sys::ValueType;

use super::errors::{invalid_state, invalid_type, invalid_value};
use super::values::{bytes_of, view_of_shared};
use crate::bind::Arena;
use crate::js::{Answer, Js, Thrown, Val};

/// What a statement's parameters are called.
pub(super) struct Names {
    /// The parameters' numbers by their names, as the statement has them.
    exact: HashMap<String, usize>,
    /// The same without the first character.
    bare: HashMap<String, usize>,
    /// The first two whose names differ in their first character only.
    ambiguous: Option<[String; 2]>,
    /// The numbers of those that only a name gives a value.
    taken: Vec<usize>,
}

impl Names {
    pub(super) fn of(statement: &Statement) -> Self {
        let mut names = Self { exact: HashMap::new(), bare: HashMap::new(), ambiguous: None, taken: Vec::new() };
        for index in 1..=statement.parameter_count() {
            let Some(name) = statement.parameter_name(index) else { continue };
            let bare = name.get(1..).unwrap_or_default().to_owned();
            if !name.starts_with('?') {
                names.taken.push(index);
            }
            match names.bare.entry(bare) {
                Entry::Vacant(place) => {
                    place.insert(index);
                }
                Entry::Occupied(earlier) if names.ambiguous.is_none() => {
                    let earlier = statement.parameter_name(*earlier.get()).unwrap_or_default();
                    names.ambiguous = Some([earlier, name.clone()]);
                }
                Entry::Occupied(_) => {}
            }
            names.exact.insert(name, index);
        }
        names
    }

    /// Returns the first parameter from a number on that can be set by position.
    fn by_position(&self, mut index: usize) -> usize {
        while !self.taken.is_empty() && self.taken.contains(&index) {
            index += 1;
        }
        index
    }
}

/// One binding of all parameters.
pub(super) struct Binder<'a> {
    pub(super) js: Js,
    pub(super) statement: &'a Statement,
    pub(super) names: &'a Names,
    pub(super) arena: &'a mut Arena,
    pub(super) allows_bare: bool,
    pub(super) allows_unknown: bool,
}

impl Binder<'_> {
    /// Sets parameters: first, where the first argument is an object, those that it names; then those by position.
    pub(super) fn bind(mut self, arguments: &[Val]) -> Answer<()> {
        let mut given = arguments;
        if let Some((&first, others)) = arguments.split_first()
            && self.object(first)?
        {
            given = others;
        }
        let mut index = 0;
        for &value in given {
            index = self.names.by_position(index + 1);
            self.value(index, value)?;
        }
        Ok(())
    }

    /// Tells whether a value is an object that names parameters, and sets them.
    fn object(&mut self, object: Val) -> Answer<bool> {
        let js = self.js;
        if !matches!(js.kind(object)?, ValueType::napi_object | ValueType::napi_function)
            || bytes_of(js, object)?.is_some()
        {
            return Ok(false);
        }
        let keys = own_keys(js, object)?;
        let count = js.array_len(keys)?;
        if count == 0 && view_of_shared(js, object)?.is_some() {
            return Ok(false);
        }
        for at in 0..count {
            let key = js.element(keys, at)?;
            let name = js.string_of(key)?;
            match self.find(&name)? {
                Some(index) => self.value(index, js.property(object, key)?)?,
                None if self.allows_unknown => {}
                None => return invalid_state(js, &format!("Unknown named parameter '{name}'")),
            }
        }
        Ok(true)
    }

    /// Finds the parameter that a property gives a value.
    fn find(&self, name: &str) -> Answer<Option<usize>> {
        if let Some(&index) = self.names.exact.get(name) {
            return Ok(Some(index));
        }
        if !self.allows_bare {
            return Ok(None);
        }
        if let Some([one, other]) = &self.names.ambiguous {
            let bare = one.get(1..).unwrap_or_default();
            return invalid_state(
                self.js,
                &format!(
                    "Cannot create bare named parameter '{bare}' because of conflicting names '{one}' and '{other}'."
                ),
            );
        }
        Ok(self.names.bare.get(name).copied())
    }

    fn value(&mut self, index: usize, value: Val) -> Answer<()> {
        let (js, statement) = (self.js, self.statement);
        let bound = match js.kind(value)? {
            ValueType::napi_number => statement.bind_f64(index, js.number(value)?),
            ValueType::napi_string => self.arena.text(js, statement, index, value)?,
            ValueType::napi_null | ValueType::napi_undefined => statement.bind_null(index),
            ValueType::napi_boolean => statement.bind_i64(index, js.truth(value)?.into()),
            ValueType::napi_bigint => match js.int64(value)? {
                Some(number) => statement.bind_i64(index, number),
                None => return invalid_value(js, "BigInt value is too large to bind."),
            },
            ValueType::napi_object => {
                let view = if bytes_of(js, value)?.is_some() { Some(value) } else { view_of_shared(js, value)? };
                match view {
                    Some(view) => self.arena.blob(statement, index, bytes_of(js, view)?.unwrap_or_default()),
                    None => return unfit(js, index),
                }
            }
            _ => return unfit(js, index),
        };
        Ok(bound?)
    }
}

fn unfit<T>(js: Js, index: usize) -> Answer<T> {
    invalid_type(js, &format!("Provided value cannot be bound to SQLite parameter {index}."))
}

/// Returns the names of an object's own properties that can be seen, without symbols.
fn own_keys(js: Js, object: Val) -> Answer {
    let mut keys = std::ptr::null_mut();
    // SAFETY: we are inside a callback of the environment, and the place has the right type.
    let status = unsafe {
        sys::napi_get_all_property_names(
            js.env,
            object,
            sys::KeyCollectionMode::own_only,
            sys::KeyFilter::enumerable | sys::KeyFilter::skip_symbols,
            sys::KeyConversion::numbers_to_strings,
            &raw mut keys,
        )
    };
    if status == sys::Status::napi_ok { Ok(keys) } else { Err(Thrown::Pending) }
}
