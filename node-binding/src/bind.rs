//! Arguments of JavaScript into parameters of a statement.
//!
//! Invariants:
//! 1. What is lent to a statement lies in an [`Arena`] that outlives the run; its owner clears the bindings first.

use std::mem::MaybeUninit;

use kithdb_sqlite::{SqliteError, Statement};
use napi_sys::ValueType;

use crate::js::{Answer, Js, Kept, Val, range_error, type_error};

/// Text up to this many bytes, of all parameters together, is lent without an allocation.
const ROOM: usize = 512;
/// The most that one character takes.
const CHARACTER: usize = 4;

const TOO_BIG: &str = "The bound string, buffer, or bigint is too big";
const TOO_MANY: &str = "Too many parameter values were provided";
const KINDS: &str = "SQLite3 can only bind numbers, strings, bigints, buffers, and null";
const NOT_PLAIN: &str = "Named parameters can only be passed within plain objects";

/// Holds the text of one run's parameters.
pub(crate) struct Arena {
    room: [MaybeUninit<u8>; ROOM],
    used: usize,
    large: Vec<Vec<u8>>,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { room: [MaybeUninit::uninit(); ROOM], used: 0, large: Vec::new() }
    }

    /// Takes back what was lent; to be called after the bindings were cleared.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.large.clear();
    }

    /// Lends a string to a parameter.
    pub(crate) fn text(
        &mut self,
        js: Js,
        statement: &Statement,
        index: usize,
        value: Val,
    ) -> Answer<Result<(), SqliteError>> {
        if ROOM - self.used > 2 * CHARACTER {
            let start = self.room[self.used..].as_mut_ptr().cast::<u8>();
            // SAFETY: the room is ours and of this length; it is written to before it is read.
            let place = unsafe { std::slice::from_raw_parts_mut(start, ROOM - self.used) };
            let len = js.text_into(value, place)?;
            // Less than what fits is all of it.
            if len + CHARACTER < place.len() {
                self.used += len;
                // SAFETY: the arena outlives the run (invariant 1), and what was lent is not written again.
                return Ok(unsafe { statement.lend_text(index, &place[..len]) });
            }
        }
        self.large.push(js.text(value)?);
        let text = self.large.last().map(Vec::as_slice).unwrap_or_default();
        // SAFETY: the arena outlives the run (invariant 1); the bytes stay where they are when the list grows.
        Ok(unsafe { statement.lend_text(index, text) })
    }

    /// Lends a copy of bytes to a parameter: JavaScript could change its own while the statement runs.
    pub(crate) fn blob(&mut self, statement: &Statement, index: usize, blob: &[u8]) -> Result<(), SqliteError> {
        if blob.len() >= ROOM - self.used {
            return statement.bind_blob(index, blob);
        }
        let place = &mut self.room[self.used..self.used + blob.len()];
        place.write_copy_of_slice(blob);
        self.used += blob.len();
        // SAFETY: these bytes were written just now.
        let lent = unsafe { std::slice::from_raw_parts(place.as_ptr().cast::<u8>(), place.len()) };
        // SAFETY: the arena outlives the run (invariant 1), and what was lent is not written again.
        unsafe { statement.lend_blob(index, lent) }
    }
}

/// What a statement's parameters are called.
#[derive(Default)]
pub(crate) struct Parameters {
    /// The numbers of those without a name.
    anonymous: Vec<usize>,
    /// The others, with the property of an object that gives their value.
    named: Vec<(usize, String, Kept)>,
}

impl Parameters {
    pub(crate) fn of(js: Js, statement: &Statement) -> Answer<Self> {
        let mut parameters = Self { anonymous: Vec::new(), named: Vec::new() };
        for index in 1..=statement.parameter_count() {
            match statement.parameter_name(index) {
                None => parameters.anonymous.push(index),
                Some(name) => {
                    let name = name.get(1..).unwrap_or_default().to_owned();
                    let key = Self::key(js, &name)?;
                    parameters.named.push((index, name, key));
                }
            }
        }
        Ok(parameters)
    }

    /// Keeps a property's name; Node-API keeps objects only, so it lies in an array.
    fn key(js: Js, name: &str) -> Answer<Kept> {
        let array = js.array()?;
        js.push(array, js.string(name.as_bytes())?)?;
        Kept::new(js, array)
    }
}

/// One binding of all parameters.
pub(crate) struct Binder<'a> {
    js: Js,
    statement: &'a Statement,
    parameters: &'a Parameters,
    /// Where text is lent from; without it SQLite copies.
    arena: Option<&'a mut Arena>,
    given: usize,
    /// How many small blobs that were left were read.
    left: usize,
    has_object: bool,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(
        js: Js,
        statement: &'a Statement,
        parameters: &'a Parameters,
        arena: Option<&'a mut Arena>,
    ) -> Self {
        Self { js, statement, parameters, arena, given: 0, left: 0, has_object: false }
    }

    /// Sets all parameters: values one by one, arrays of them, and at most one object of named ones.
    pub(crate) fn bind(mut self, arguments: &[Val]) -> Answer<()> {
        for &argument in arguments {
            match self.js.kind(argument)? {
                ValueType::napi_object => self.object(argument)?,
                ValueType::napi_function if !self.parameters.named.is_empty() => return type_error(NOT_PLAIN),
                kind => self.next(argument, kind)?,
            }
        }
        if !self.has_object && !self.parameters.named.is_empty() {
            return type_error("Missing named parameters");
        }
        if self.given < self.parameters.anonymous.len() {
            return range_error("Too few parameter values were provided");
        }
        Ok(())
    }

    fn object(&mut self, argument: Val) -> Answer<()> {
        let js = self.js;
        if js.is_buffer(argument)? {
            return match self.place() {
                Some(index) => self.bytes(index, argument),
                None => range_error(TOO_MANY),
            };
        }
        if js.is_array(argument)? {
            for index in 0..js.array_len(argument)? {
                let element = js.element(argument, index)?;
                self.next(element, js.kind(element)?)?;
            }
            return Ok(());
        }
        if !is_plain(js, argument)? {
            return if self.parameters.named.is_empty() {
                self.next(argument, ValueType::napi_object)
            } else {
                type_error(NOT_PLAIN)
            };
        }
        if std::mem::replace(&mut self.has_object, true) {
            return type_error("You cannot specify named parameters in two different objects");
        }
        let parameters = self.parameters;
        for (index, name, key) in &parameters.named {
            let key = js.element(key.get(js)?, 0)?;
            if !js.has_own(argument, key)? {
                return range_error(format!("Missing named parameter \"{name}\""));
            }
            let value = js.property(argument, key)?;
            self.value(*index, value, js.kind(value)?)?;
        }
        Ok(())
    }

    fn next(&mut self, value: Val, kind: i32) -> Answer<()> {
        match self.place() {
            Some(index) => self.value(index, value, kind),
            None => self.surplus(value, kind),
        }
    }

    /// Returns the parameter that the next value is for.
    fn place(&mut self) -> Option<usize> {
        let index = *self.parameters.anonymous.get(self.given)?;
        self.given += 1;
        Some(index)
    }

    /// Says what is wrong with a value that no parameter is left for: first its kind, then its number.
    fn surplus(&self, value: Val, kind: i32) -> Answer<()> {
        let is_fit = match kind {
            ValueType::napi_number | ValueType::napi_string | ValueType::napi_null | ValueType::napi_undefined => true,
            ValueType::napi_bigint if self.js.int64(value)?.is_none() => return range_error(TOO_BIG),
            ValueType::napi_bigint => true,
            ValueType::napi_symbol => self.is_left(value)?,
            ValueType::napi_object => self.js.is_buffer(value)?,
            _ => false,
        };
        if is_fit { range_error(TOO_MANY) } else { type_error(KINDS) }
    }

    fn value(&mut self, index: usize, value: Val, kind: i32) -> Answer<()> {
        let (js, statement) = (self.js, self.statement);
        let bound = match kind {
            ValueType::napi_number => statement.bind_f64(index, js.number(value)?),
            ValueType::napi_string => match &mut self.arena {
                Some(arena) => arena.text(js, statement, index, value)?,
                None => statement.bind_text(index, &js.text(value)?),
            },
            ValueType::napi_null | ValueType::napi_undefined => statement.bind_null(index),
            ValueType::napi_bigint => match js.int64(value)? {
                Some(number) => statement.bind_i64(index, number),
                None => return range_error(TOO_BIG),
            },
            ValueType::napi_object if js.is_buffer(value)? => return self.bytes(index, value),
            ValueType::napi_symbol => return self.left(index, value),
            _ => return type_error(KINDS),
        };
        bound.or_else(refused)
    }

    /// Tells whether a symbol stands for a small blob that was left.
    fn is_left(&self, symbol: Val) -> Answer<bool> {
        match self.js.instance().blobs() {
            Some((_, mark)) => self.js.is_same(symbol, mark.get(self.js)?),
            None => Ok(false),
        }
    }

    /// Sets a parameter to the small blob that was left for it.
    fn left(&mut self, index: usize, symbol: Val) -> Answer<()> {
        let js = self.js;
        let blob = if self.is_left(symbol)? {
            js.instance().blobs().and_then(|(memory, _)| memory.parameter(self.left))
        } else {
            None
        };
        let Some(blob) = blob else { return type_error(KINDS) };
        self.left += 1;
        self.blob(index, blob).or_else(refused)
    }

    fn blob(&mut self, index: usize, blob: &[u8]) -> Result<(), SqliteError> {
        match &mut self.arena {
            Some(arena) => arena.blob(self.statement, index, blob),
            None => self.statement.bind_blob(index, blob),
        }
    }

    fn bytes(&mut self, index: usize, buffer: Val) -> Answer<()> {
        let bytes = self.js.bytes(buffer)?;
        self.blob(index, bytes).or_else(refused)
    }
}

/// Says SQLite's TOOBIG as the original says it.
fn refused(error: SqliteError) -> Answer<()> {
    if error.name() == "SQLITE_TOOBIG" { range_error(TOO_BIG) } else { Err(error.into()) }
}

/// Tells whether an object is one of `{}` or without a prototype, of this or another realm.
fn is_plain(js: Js, object: Val) -> Answer<bool> {
    let prototype = js.prototype(object)?;
    if js.kind(prototype)? == ValueType::napi_null || js.is_same(prototype, js.instance().object_prototype(js)?)? {
        return Ok(true);
    }
    let above = js.prototype(prototype)?;
    Ok(js.kind(above)? == ValueType::napi_null && js.has_own(prototype, js.string(b"isPrototypeOf")?)?)
}
