//! The scalar functions.

use rusqlite::types::Value;
use rusqlite::{Connection, ToSql};

fn open() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

fn get(sql: &str) -> Value {
    open().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn text(sql: &str) -> String {
    match get(sql) {
        Value::Text(text) => text,
        other => panic!("{sql} is {other:?}"),
    }
}

fn real(sql: &str) -> f64 {
    match get(sql) {
        Value::Real(number) => number,
        other => panic!("{sql} is {other:?}"),
    }
}

fn message(sql: &str) -> String {
    open().query_row(sql, [], |_| Ok(())).unwrap_err().to_string()
}

#[test]
fn constructors_mark_what_they_make() {
    assert_eq!(
        text("SELECT vec_type(vec_f32('[1,2]')) || vec_type(vec_int8('[1,2]')) || vec_type(vec_bit(x'01'))"),
        "float32int8bit"
    );
    assert_eq!(get("SELECT vec_length(x'0000803f00000040')"), Value::Integer(2));
    assert_eq!(get("SELECT vec_length(vec_int8(x'010203'))"), Value::Integer(3));
    assert_eq!(get("SELECT vec_length(vec_bit(x'0102'))"), Value::Integer(16));
    assert_eq!(get("SELECT vec_f32('[1, 2]') = x'0000803f00000040'"), Value::Integer(1));
    assert_eq!(get("SELECT vector32('[1, 2]') = vector('[1, 2]')"), Value::Integer(1));
    assert_eq!(
        get("SELECT subtype(vec_f32('[1]')) || subtype(vec_bit(x'00')) || subtype(vec_int8('[1]'))"),
        Value::Text("223224225".to_owned())
    );
}

#[test]
fn arithmetic_keeps_the_type() {
    assert_eq!(text("SELECT vec_to_json(vec_add('[1,2]', '[0.5,-1]'))"), "[1.5,1.0]");
    assert_eq!(text("SELECT vec_to_json(vec_sub(vec_int8('[5,2]'), vec_int8('[1,4]')))"), "[4,-2]");
    assert_eq!(text("SELECT vec_to_json(vec_normalize('[3,4]'))"), "[0.6,0.8]");
    assert_eq!(text("SELECT vec_to_json(vec_slice('[1,2,3,4]', 1, 3))"), "[2.0,3.0]");
    assert_eq!(text("SELECT vec_to_json(vec_slice(vec_bit(x'01ff02'), 8, 16))"), "[1,1,1,1,1,1,1,1]");
    assert_eq!(text("SELECT vec_to_json(vec_quantize_binary('[1,-1,2,0,0,0,0,5]'))"), "[1,0,1,0,0,0,0,1]");
    assert_eq!(text("SELECT vector_extract(vector32('[0.1, 2]'))"), "[0.1,2.0]");
}

#[test]
fn distances_are_those_of_the_definitions() {
    let close = |sql: &str, expected: f64| {
        let found = real(sql);
        assert!((found - expected).abs() < 1e-6, "{sql} is {found}, not {expected}");
    };
    close("SELECT vec_distance_l2('[0,0]', '[3,4]')", 5.0);
    close("SELECT vector_distance_l2('[0,0]', '[3,4]')", 5.0);
    close("SELECT vec_distance_l1('[0,0]', '[3,-4]')", 7.0);
    close("SELECT vec_distance_cosine('[1,0]', '[1,1]')", 1.0 - 0.5f64.sqrt());
    close("SELECT vector_distance_cos('[1,0]', '[-2,0]')", 2.0);
    close("SELECT vec_distance_l2(vec_int8('[-100,0]'), vec_int8('[100,0]'))", 200.0);
    close("SELECT vec_distance_hamming(vec_bit(x'0f'), vec_bit(x'01'))", 3.0);
    assert_eq!(get("SELECT vec_distance_cosine('[0,0]', '[1,1]')"), Value::Null);
}

#[test]
fn errors_name_what_was_expected_and_what_was_given() {
    assert!(
        message("SELECT vec_distance_l2('[1,2,3]', '[1,2]')")
            .contains("the first embedding has 3 dimensions, the second 2")
    );
    assert!(message("SELECT vec_distance_l2(vec_int8('[1]'), '[1]')").contains("int8, the second float32"));
    assert!(message("SELECT vec_distance_hamming('[1]', '[1]')").contains("compares embeddings of bits, not float32"));
    assert!(message("SELECT vec_distance_cosine(vec_bit(x'00'), vec_bit(x'00'))").contains("not bit"));
    assert!(message("SELECT vec_f32(NULL)").contains("vec_f32(): an embedding is"));
    assert!(message("SELECT vec_slice('[1,2]', 1, 1)").contains("0 <= start < end <= 2"));
    assert!(message("SELECT vec_normalize('[0,0]')").contains("all zero"));
    assert!(message("SELECT vec_quantize_binary('[1,2]')").contains("multiple of 8"));
}

#[test]
fn bound_parameters_are_read_like_literals() {
    let blob: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let parameters: [&dyn ToSql; 2] = [&blob, &"[1,2]"];
    let distance: f64 = open().query_row("SELECT vec_distance_l2(?1, ?2)", parameters, |row| row.get(0)).unwrap();
    assert!(distance.abs() < 1e-9);
}

#[test]
fn numbers_of_an_embedding_are_rows_and_bytes() {
    let rows = |sql: &str| text(&format!("SELECT group_concat(rowid || ':' || value) FROM vec_each({sql})"));
    assert_eq!(rows("'[1,2.5]'"), "0:1.0,1:2.5");
    assert_eq!(rows("vec_int8('[1,-2]')"), "0:1,1:-2");
    assert_eq!(rows("vec_bit(x'05')"), "0:1,1:0,2:1,3:0,4:0,5:0,6:0,7:0");
    assert!(message("SELECT * FROM vec_each(NULL)").contains("not NULL"));
    assert!(message("SELECT * FROM vec_each").contains("takes one argument"));
    assert_eq!(rows("vec_quantize_int8('[1,-1,0.5,0.1,-0.3,9]', 'unit')"), "0:126,1:-128,2:63,3:12,4:-38,5:127");
    assert!(message("SELECT vec_quantize_int8('[1]', 'foo')").contains("'unit'"));
}
