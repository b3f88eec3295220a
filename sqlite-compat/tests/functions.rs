//! Functions of the application's, scalar, aggregate and window, and its virtual tables.

use std::rc::Rc;

use kithdb_sqlite::{
    AggregateState, Database, FunctionOptions, OpenOptions, SqliteError, Step, Table, TableRows, Value, ValueRef,
};

const OPTIONS: FunctionOptions = FunctionOptions { argument_count: -1, is_deterministic: true, is_direct_only: false };

fn memory() -> Database {
    Database::open(":memory:", &OpenOptions::default()).unwrap()
}

fn column(database: &Database, sql: &str) -> Result<Vec<Value>, SqliteError> {
    let (statement, _) = database.prepare(sql)?;
    let statement = statement.unwrap();
    let mut values = Vec::new();
    while statement.step()? == Step::Row {
        values.push(match statement.column(0) {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(value) => Value::Text(value.to_vec()),
            ValueRef::Blob(value) => Value::Blob(value.to_vec()),
        });
    }
    Ok(values)
}

#[track_caller]
fn message(database: &Database, sql: &str) -> String {
    column(database, sql).expect_err("it must be refused").message
}

fn owned(value: &ValueRef<'_>) -> Value {
    match *value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(value) => Value::Text(value.to_vec()),
        ValueRef::Blob(value) => Value::Blob(value.to_vec()),
    }
}

#[test]
fn function_gets_and_gives_values_of_every_kind() {
    let database = memory();
    let echo = |arguments: &[ValueRef<'_>]| Ok(arguments.first().map_or(Value::Null, owned));
    database.create_function("echo", OPTIONS, Box::new(echo)).unwrap();
    for (literal, value) in [
        ("NULL", Value::Null),
        ("-5", Value::Integer(-5)),
        ("2.5", Value::Real(2.5)),
        ("'text'", Value::Text(b"text".to_vec())),
        ("''", Value::Text(Vec::new())),
        ("x'00ff'", Value::Blob(vec![0, 255])),
        ("x''", Value::Blob(Vec::new())),
    ] {
        assert_eq!(column(&database, &format!("SELECT echo({literal})")).unwrap(), [value]);
    }
    assert_eq!(column(&database, "SELECT echo()").unwrap(), [Value::Null]);
}

#[test]
fn number_of_arguments_is_held_to() {
    let database = memory();
    let options = FunctionOptions { argument_count: 2, ..OPTIONS };
    database.create_function("two", options, Box::new(|_| Ok(Value::Integer(2)))).unwrap();
    assert_eq!(column(&database, "SELECT two(1, 2)").unwrap(), [Value::Integer(2)]);
    assert_eq!(message(&database, "SELECT two(1)"), "wrong number of arguments to function two()");
}

#[test]
fn function_fails_the_statement_with_its_message_and_when_it_panics() {
    let database = memory();
    database.create_function("fail", OPTIONS, Box::new(|_| Err("not today".to_owned()))).unwrap();
    database.create_function("crash", OPTIONS, Box::new(|_| panic!("never"))).unwrap();
    assert_eq!(message(&database, "SELECT fail()"), "not today");
    assert!(column(&database, "SELECT crash()").is_err());
    assert_eq!(column(&database, "SELECT 1").unwrap(), [Value::Integer(1)], "the database goes on");
}

#[test]
fn direct_function_is_not_for_the_schema() {
    let database = memory();
    let options = FunctionOptions { is_direct_only: true, ..OPTIONS };
    database.create_function("secret", options, Box::new(|_| Ok(Value::Integer(1)))).unwrap();
    database.execute_batch("CREATE VIEW v AS SELECT secret()").unwrap();
    assert_eq!(column(&database, "SELECT secret()").unwrap(), [Value::Integer(1)]);
    assert_eq!(message(&database, "SELECT * FROM v"), "unsafe use of secret()");
}

#[test]
fn only_a_deterministic_function_makes_an_index() {
    let database = memory();
    database.execute_batch("CREATE TABLE t(a)").unwrap();
    let identity = |arguments: &[ValueRef<'_>]| Ok(owned(&arguments[0]));
    let random = FunctionOptions { is_deterministic: false, ..OPTIONS };
    database.create_function("changing", random, Box::new(identity)).unwrap();
    database.create_function("steady", OPTIONS, Box::new(identity)).unwrap();
    database.execute_batch("CREATE INDEX steady_index ON t(steady(a))").unwrap();
    let error = database.execute_batch("CREATE INDEX changing_index ON t(changing(a))").unwrap_err();
    assert_eq!(error.message, "non-deterministic functions prohibited in index expressions");
}

/// Adds numbers up, and counts what was taken out again.
struct Sum {
    total: i64,
}

impl AggregateState for Sum {
    fn step(&mut self, arguments: &[ValueRef<'_>]) -> Result<(), String> {
        let ValueRef::Integer(number) = arguments[0] else { return Err("numbers only".to_owned()) };
        self.total += number;
        Ok(())
    }

    fn inverse(&mut self, arguments: &[ValueRef<'_>]) -> Result<(), String> {
        let ValueRef::Integer(number) = arguments[0] else { return Err("numbers only".to_owned()) };
        self.total -= number;
        Ok(())
    }

    fn value(&mut self) -> Result<Value, String> {
        Ok(Value::Integer(self.total))
    }
}

fn with_sum(is_window: bool) -> Database {
    let database = memory();
    let start = || Ok(Box::new(Sum { total: 0 }) as Box<dyn AggregateState>);
    database.create_aggregate("add_up", OPTIONS, is_window, Box::new(start)).unwrap();
    database
        .execute_batch("CREATE TABLE n(g, i); INSERT INTO n VALUES('a', 1), ('a', 2), ('b', 10), ('b', 20)")
        .unwrap();
    database
}

#[test]
fn aggregate_has_a_state_for_each_group_and_one_for_no_rows() {
    for is_window in [false, true] {
        let database = with_sum(is_window);
        let sums = column(&database, "SELECT add_up(i) FROM n GROUP BY g ORDER BY g").unwrap();
        assert_eq!(sums, [Value::Integer(3), Value::Integer(30)]);
        assert_eq!(column(&database, "SELECT add_up(i) FROM n WHERE i > 99").unwrap(), [Value::Integer(0)]);
        assert_eq!(message(&database, "SELECT add_up(g) FROM n"), "numbers only");
    }
}

#[test]
fn window_takes_rows_in_and_out() {
    let database = with_sum(true);
    let moving = "SELECT add_up(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM n ORDER BY i";
    let expected = [1, 3, 12, 30].map(Value::Integer);
    assert_eq!(column(&database, moving).unwrap(), expected);
    assert_eq!(message(&with_sum(false), moving), "add_up() may not be used as a window function");
}

#[test]
fn aggregate_that_cannot_begin_fails_the_statement() {
    let database = memory();
    database.create_aggregate("never", OPTIONS, false, Box::new(|| Err("no state".to_owned()))).unwrap();
    assert_eq!(message(&database, "SELECT never(1)"), "no state");
    assert_eq!(message(&database, "SELECT never(1) WHERE 0"), "no state");
}

/// Numbers up to a bound, which is a parameter.
struct Series {
    columns: Vec<String>,
    parameters: Vec<String>,
}

struct Numbers {
    next: i64,
    last: i64,
}

impl Table for Series {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn parameters(&self) -> &[String] {
        &self.parameters
    }

    fn is_direct_only(&self) -> bool {
        false
    }

    fn open(&self, parameters: &[Option<ValueRef<'_>>]) -> Result<Box<dyn TableRows>, String> {
        match parameters {
            [Some(ValueRef::Integer(last))] => Ok(Box::new(Numbers { next: 1, last: *last })),
            _ => Err("a bound is needed".to_owned()),
        }
    }
}

impl TableRows for Numbers {
    fn next(&mut self) -> Result<Option<Vec<Value>>, String> {
        if self.next == 13 {
            return Err("13 is not said".to_owned());
        }
        let number = self.next;
        self.next += 1;
        Ok((number <= self.last).then(|| vec![Value::Integer(number), Value::Text(number.to_string().into_bytes())]))
    }
}

fn series() -> Rc<dyn Table> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Rc::new(Series { columns: names(&["number", "digits"]), parameters: names(&["bound"]) })
}

#[test]
fn table_of_the_application_is_read_with_its_parameters() {
    let database = memory();
    database.create_eponymous_table("series", series()).unwrap();
    let odd = column(&database, "SELECT digits FROM series(5) WHERE number % 2 = 1").unwrap();
    assert_eq!(odd, ["1", "3", "5"].map(|digits| Value::Text(digits.as_bytes().to_vec())));
    let joined = "SELECT count(*) FROM series(3) AS a, series(a.number)";
    assert_eq!(column(&database, joined).unwrap(), [Value::Integer(6)]);
    assert_eq!(message(&database, "SELECT * FROM series"), "a bound is needed");
    assert_eq!(message(&database, "SELECT count(*) FROM series(20)"), "13 is not said");
}

#[test]
fn module_makes_a_table_of_what_the_statement_asks_for() {
    let database = memory();
    let make = |request: &kithdb_sqlite::TableRequest| {
        assert_eq!(
            (request.module.as_str(), request.database.as_str(), request.table.as_str()),
            ("numbers", "main", "n")
        );
        if request.arguments == ["good"] { Ok(series()) } else { Err(format!("cannot make {:?}", request.arguments)) }
    };
    database.create_table_module("numbers", make).unwrap();
    database.execute_batch("CREATE VIRTUAL TABLE n USING numbers(good)").unwrap();
    assert_eq!(column(&database, "SELECT max(number) FROM n WHERE bound = 4").unwrap(), [Value::Integer(4)]);
    database.execute_batch("DROP TABLE n").unwrap();
    let error = database.execute_batch("CREATE VIRTUAL TABLE n USING numbers(bad)").unwrap_err();
    assert_eq!(error.message, "cannot make [\"bad\"]");
}

/// Notes when it is dropped.
struct Noted(Rc<std::cell::Cell<bool>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn function_may_replace_itself_while_a_statement_is_prepared() {
    let database = memory();
    database
        .execute_batch(
            "CREATE TABLE t(a); CREATE INDEX by_a ON t(a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO t SELECT i % 20 FROM n;
             ANALYZE",
        )
        .unwrap();
    let is_dropped = Rc::new(std::cell::Cell::new(false));
    let calls = Rc::new(std::cell::Cell::new(0));
    let (noted, within, counted) = (Noted(Rc::clone(&is_dropped)), database.clone(), Rc::clone(&calls));
    let first = move |_: &[ValueRef<'_>]| {
        counted.set(counted.get() + 1);
        within.create_function("f", OPTIONS, Box::new(|_| Ok(Value::Integer(7)))).unwrap();
        // It is still running.
        assert!(!noted.0.get());
        Ok(Value::Integer(3))
    };
    database.create_function("f", OPTIONS, Box::new(first)).unwrap();
    let (statement, _) = database.prepare("SELECT count(*) FROM t WHERE a > f(1)").unwrap();
    assert_eq!(calls.get(), 1, "SQLite estimates how many rows there are");
    assert!(is_dropped.get());
    drop(statement);
    assert_eq!(column(&database, "SELECT f(1)").unwrap(), [Value::Integer(7)]);
}
