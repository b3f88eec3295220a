//! The functions of sqlite-vec on values.

/// Lists statements over every documented function.
pub fn statements() -> Vec<String> {
    let mut list: Vec<String> = EXPRESSIONS.iter().map(|expression| format!("SELECT {expression}")).collect();
    list.extend(TABLES.iter().map(|sql| (*sql).to_owned()));
    // Lengths around those of a machine's registers, with numbers that are no whole ones.
    for length in [1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 384, 768] {
        let numbers = |seed: u64| {
            let numbers =
                (0..length).map(|place| (((place as u64 + 1) * (seed * 2 + 1) * 7919) % 2000) as f64 / 1000.0 - 1.0);
            numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
        };
        let (left, right) = (format!("'[{}]'", numbers(1)), format!("'[{}]'", numbers(2)));
        for function in ["vec_distance_l2", "vec_distance_l1", "vec_distance_cosine", "vec_add", "vec_sub"] {
            list.push(format!("SELECT {function}({left}, {right})"));
        }
        let int8 = |vector: &str| format!("vec_quantize_int8({vector}, 'unit')");
        for function in ["vec_distance_l2", "vec_distance_l1", "vec_distance_cosine", "vec_add", "vec_sub"] {
            list.push(format!("SELECT {function}({}, {})", int8(&left), int8(&right)));
        }
        for expression in [
            format!("vec_normalize({left})"),
            int8(&left),
            format!("vec_to_json({left})"),
            format!("vec_length({left})"),
            format!("vec_quantize_binary({left})"),
            format!("vec_quantize_binary({})", int8(&left)),
            format!("vec_distance_hamming(vec_quantize_binary({left}), vec_quantize_binary({right}))"),
        ] {
            list.push(format!("SELECT {expression}"));
        }
        list.push(format!("SELECT rowid, value FROM vec_each({left})"));
    }
    list
}

const EXPRESSIONS: &[&str] = &[
    "vec_version()",
    "vec_f32('[1, 2]')",
    "vec_f32(x'0000803f00000040')",
    "vec_f32(x'00')",
    "vec_f32('')",
    "vec_f32('[]')",
    "vec_f32(x'')",
    "vec_f32(NULL)",
    "vec_f32(1)",
    "vec_f32('x')",
    "vec_f32(vec_int8('[1,2]'))",
    "vec_int8('[1,-128]')",
    "vec_int8('[200]')",
    "vec_int8('[1.5]')",
    "vec_int8(x'0102')",
    "vec_bit(x'01')",
    "vec_bit('[1]')",
    "vec_bit(x'')",
    "vec_bit(1)",
    "vec_bit(NULL)",
    "vec_length('[1,2]')",
    "vec_length(x'0000803f')",
    "vec_length(vec_bit(x'0102'))",
    "vec_length(vec_int8('[1,2]'))",
    "vec_length(NULL)",
    "vec_type('[1]')",
    "vec_type(vec_bit(x'00'))",
    "vec_type(vec_int8('[1]'))",
    "vec_type(NULL)",
    "vec_add('[1,2]','[3,4]')",
    "vec_add(vec_int8('[100,2]'), vec_int8('[100,4]'))",
    "vec_add(vec_bit(x'01'), vec_bit(x'02'))",
    "vec_add('[1]','[1,2]')",
    "vec_add('[1]', vec_int8('[1]'))",
    "vec_sub('[1,2]','[3,4]')",
    "vec_sub(vec_int8('[-100]'), vec_int8('[100]'))",
    "vec_normalize('[3,4]')",
    "vec_normalize(vec_int8('[3,4]'))",
    "vec_slice('[1,2,3]', 0, 2)",
    "vec_slice('[1,2,3]', 2, 2)",
    "vec_slice('[1,2,3]', -1, 2)",
    "vec_slice('[1,2,3]', 2, 1)",
    "vec_slice('[1,2,3]', 0, 4)",
    "vec_slice('[1,2,3]', 3, 3)",
    "vec_slice(vec_int8('[1,2,3]'), 1, 3)",
    "vec_slice(vec_bit(x'0102'), 0, 8)",
    "vec_slice(vec_bit(x'0102'), 8, 16)",
    "vec_slice(vec_bit(x'0102'), 4, 16)",
    "vec_slice(vec_bit(x'0102'), 8, 9)",
    "vec_to_json('[1,0.1]')",
    "vec_to_json(vec_int8('[1,-2]'))",
    "vec_to_json(vec_bit(x'05'))",
    "vec_to_json(x'0000c07f')",
    "vec_distance_l2('[1,2]','[3,4]')",
    "vec_distance_l2(vec_int8('[1,2]'), vec_int8('[3,4]'))",
    "vec_distance_l2(vec_int8('[-128,127]'), vec_int8('[127,-128]'))",
    "vec_distance_l2(vec_bit(x'01'), vec_bit(x'03'))",
    "vec_distance_l2('[1]', vec_int8('[1]'))",
    "vec_distance_l2('[1]','[1,2]')",
    "vec_distance_l2(NULL,'[1]')",
    "vec_distance_l1('[1,2]','[3,4]')",
    "vec_distance_l1(vec_int8('[1,2]'), vec_int8('[3,4]'))",
    "typeof(vec_distance_l1(vec_int8('[1,2]'), vec_int8('[3,4]')))",
    "typeof(vec_distance_l1('[1,2]','[3,4]'))",
    "vec_distance_l1(vec_bit(x'01'), vec_bit(x'03'))",
    "vec_distance_cosine('[1,2]','[3,4]')",
    "vec_distance_cosine('[0,0]','[3,4]')",
    "vec_distance_cosine(vec_int8('[1,2]'), vec_int8('[3,4]'))",
    "vec_distance_cosine(vec_bit(x'01'), vec_bit(x'03'))",
    "vec_distance_hamming(vec_bit(x'01'), vec_bit(x'03'))",
    "typeof(vec_distance_hamming(vec_bit(x'01'), vec_bit(x'03')))",
    "vec_distance_hamming('[1]','[2]')",
    "vec_distance_hamming(vec_int8('[1]'), vec_int8('[2]'))",
    "vec_quantize_binary('[1,-1,0,1,1,1,1,1]')",
    "vec_quantize_binary('[1]')",
    "vec_quantize_binary(vec_int8('[1,-1,0,1,1,1,1,1]'))",
    "vec_quantize_binary(vec_bit(x'01'))",
    "vec_quantize_int8('[1,-1,0.5,0.1,0.999,-0.3,0,-0.001]', 'unit')",
    "vec_quantize_int8('[1]', 'foo')",
    "vec_quantize_int8(vec_int8('[1]'), 'unit')",
    "vec_quantize_int8('[1]')",
    "subtype(vec_f32('[1]'))",
    "subtype(vec_int8('[1]'))",
    "subtype(vec_bit(x'01'))",
    "subtype(vec_add('[1]','[1]'))",
    "subtype(vec_sub('[1]','[1]'))",
    "subtype(vec_slice('[1]',0,1))",
    "subtype(vec_normalize('[1]'))",
    "subtype(vec_quantize_binary('[1,1,1,1,1,1,1,1]'))",
    "subtype(vec_quantize_int8('[1]','unit'))",
    "subtype(vec_to_json('[1]'))",
    "json_type(json_array(vec_to_json('[1]')), '$[0]')",
];

const TABLES: &[&str] = &[
    "SELECT rowid, value, typeof(value) FROM vec_each('[1,2.5]')",
    "SELECT rowid, value, typeof(value) FROM vec_each(vec_int8('[1,-2]'))",
    "SELECT rowid, value FROM vec_each(x'0000803f')",
    "SELECT rowid, value FROM vec_each(NULL)",
    "SELECT rowid, value FROM vec_each('x')",
    "SELECT * FROM vec_each",
    "SELECT sum(value) FROM vec_each(vec_add('[1,2]','[3,4]'))",
    "SELECT value FROM vec_each('[3,1,2]') ORDER BY value LIMIT 2",
];
