//! Random queries: joins, groups, windows, common tables, compounds and subqueries.

use kithdb_tests::random::Random;

use crate::expression::{Sight, any, condition, number, text};
use crate::schema::TABLES;

/// Writes a query.
pub fn select(random: &mut Random) -> String {
    match random.below(9) {
        0..3 => plain(random, 2),
        3 => grouped(random),
        4 => windowed(random),
        5 => compound(random),
        6 => common(random),
        7 => correlated(random),
        _ => format!("SELECT {}", any(random, &Sight::default(), 3)),
    }
}

/// Brings one to three tables into sight, joined.
fn from(random: &mut Random) -> (String, Sight) {
    let (mut sql, mut sight) = (String::new(), Sight::default());
    for index in 0..[1, 1, 2, 2, 3][random.below(5)] {
        let table = random.pick(TABLES);
        let alias = format!("t{index}");
        let columns = |names: &[&str]| names.iter().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>();
        let new = Sight { numbers: columns(table.numbers), texts: columns(table.texts) };
        if index == 0 {
            sql = format!("{} AS {alias}", table.name);
        } else {
            let on = match random.below(4) {
                0 => {
                    let mut both = sight.clone();
                    both.numbers.extend(new.numbers.clone());
                    condition(random, &both, 1)
                }
                1 => format!("{} = {}", random.pick(&sight.texts), random.pick(&new.texts)),
                _ => format!("{} = {}", random.pick(&sight.numbers), random.pick(&new.numbers)),
            };
            let join = *random.pick(&["JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            sql = format!("{sql} {join} {} AS {alias} ON {on}", table.name);
        }
        sight.numbers.extend(new.numbers);
        sight.texts.extend(new.texts);
    }
    (sql, sight)
}

fn list(random: &mut Random, sight: &Sight, count: usize) -> String {
    (0..count).map(|index| format!("{} AS c{index}", any(random, sight, 2))).collect::<Vec<_>>().join(", ")
}

/// With every column in the order there is one answer only, whatever the plan.
fn order(random: &mut Random, count: usize) -> String {
    let terms = (1..=count).map(|column| {
        let direction = *random.pick(&["", " DESC", " NULLS LAST", " DESC NULLS FIRST"]);
        format!("{column}{direction}")
    });
    let terms = terms.collect::<Vec<_>>().join(", ");
    let limit = if random.percent(30) {
        format!(" LIMIT {} OFFSET {}", random.below(9), random.below(3))
    } else {
        String::new()
    };
    format!(" ORDER BY {terms}{limit}")
}

fn plain(random: &mut Random, depth: usize) -> String {
    let (from, sight) = from(random);
    let count = random.between(1, 4);
    let distinct = if random.percent(20) { "DISTINCT " } else { "" };
    let list = list(random, &sight, count);
    let filter =
        if random.percent(75) { format!(" WHERE {}", condition(random, &sight, depth)) } else { String::new() };
    let order = if random.percent(70) { order(random, count) } else { String::new() };
    format!("SELECT {distinct}{list} FROM {from}{filter}{order}")
}

fn aggregate(random: &mut Random, sight: &Sight) -> String {
    let filter =
        if random.percent(20) { format!(" FILTER (WHERE {})", condition(random, sight, 1)) } else { String::new() };
    let distinct = if random.percent(20) { "DISTINCT " } else { "" };
    match random.below(8) {
        0 => format!("count(*){filter}"),
        1 => format!("count({distinct}{}){filter}", any(random, sight, 1)),
        2 => format!("total({distinct}{}){filter}", number(random, sight, 1)),
        3 => format!("avg({}){filter}", number(random, sight, 1)),
        4 => format!("group_concat({}, '/' ORDER BY {}){filter}", text(random, sight, 1), sight.all().join(", ")),
        5 => format!("json_group_array({} ORDER BY {}){filter}", number(random, sight, 0), sight.all().join(", ")),
        _ => format!("{}({}){filter}", random.pick(&["max", "min"]), any(random, sight, 1)),
    }
}

fn grouped(random: &mut Random) -> String {
    let (from, sight) = from(random);
    let by = any(random, &sight, 1);
    let (first, second) = (aggregate(random, &sight), aggregate(random, &sight));
    let having = if random.percent(40) { format!(" HAVING count(*) > {}", random.below(3)) } else { String::new() };
    let filter = if random.percent(40) { format!(" WHERE {}", condition(random, &sight, 1)) } else { String::new() };
    if random.percent(25) {
        return format!("SELECT {first} AS c0, {second} AS c1 FROM {from}{filter}");
    }
    format!(
        "SELECT {by} AS c0, {first} AS c1, {second} AS c2 FROM {from}{filter} GROUP BY 1{having}{}",
        order(random, 3)
    )
}

fn windowed(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let sight = Sight { numbers: names(table.numbers), texts: names(table.texts) };
    let function = match random.below(8) {
        0 => "row_number()".to_owned(),
        1 => random.pick(&["rank()", "dense_rank()", "percent_rank()", "cume_dist()"]).to_string(),
        2 => format!("ntile({})", random.between(1, 4)),
        3 => format!("{}({}, {})", random.pick(&["lag", "lead"]), any(random, &sight, 1), random.below(3)),
        4 => format!("{}({})", random.pick(&["first_value", "last_value"]), any(random, &sight, 1)),
        5 => format!("total({})", number(random, &sight, 1)),
        6 => format!("count({})", any(random, &sight, 1)),
        _ => format!("{}({})", random.pick(&["max", "min"]), any(random, &sight, 1)),
    };
    let partition =
        if random.percent(50) { format!("PARTITION BY {} ", any(random, &sight, 1)) } else { String::new() };
    let frame = *random.pick(&[
        "",
        " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        " ROWS UNBOUNDED PRECEDING",
        " GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING",
        " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES",
    ]);
    let by = format!("{}, {}", any(random, &sight, 1), table.key);
    format!(
        "SELECT {} AS c0, {function} OVER ({partition}ORDER BY {by}{frame}) AS c1 FROM {}{}",
        table.key,
        table.name,
        order(random, 2)
    )
}

fn compound(random: &mut Random) -> String {
    let count = random.between(1, 3);
    let mut sql = String::new();
    for part in 0..random.between(2, 3) {
        let (from, sight) = from(random);
        let operator = *random.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let head = if part == 0 { String::new() } else { format!("{sql} {operator} ") };
        sql =
            format!("{head}SELECT {} FROM {from} WHERE {}", list(random, &sight, count), condition(random, &sight, 1));
    }
    format!("{sql}{}", order(random, count))
}

fn common(random: &mut Random) -> String {
    if random.percent(35) {
        let step = random.between(1, 3);
        return format!(
            "WITH RECURSIVE n(i, s) AS (SELECT {}, 'a' UNION {}SELECT i + {step}, s || i FROM n WHERE i < {}) SELECT i, s, count(*) OVER () FROM n{}",
            random.below(3),
            random.pick(&["", "ALL "]),
            random.between(3, 20),
            order(random, 2)
        );
    }
    let inner = plain(random, 1);
    let materialized = *random.pick(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
    format!(
        "WITH c AS {materialized}({inner}) SELECT a.c0, count(*), {} FROM c AS a LEFT JOIN c AS b ON a.c0 {} b.c0 GROUP BY a.c0{}",
        random.pick(&["max(b.c0)", "count(b.c0)", "min(a.c0)"]),
        random.pick(&["=", "IS", "<"]),
        order(random, 3)
    )
}

fn correlated(random: &mut Random) -> String {
    let (outer, inner) = (random.pick(TABLES), random.pick(TABLES));
    let link =
        format!("i.{} {} o.{}", random.pick(inner.numbers), random.pick(&["=", "<", ">="]), random.pick(outer.numbers));
    let column = *random.pick(inner.numbers);
    let one = format!(
        "(SELECT {}(i.{column}) FROM {} AS i WHERE {link})",
        random.pick(&["max", "count", "min", "total"]),
        inner.name
    );
    let filter = match random.below(3) {
        0 => format!("{}EXISTS (SELECT 1 FROM {} AS i WHERE {link})", random.pick(&["", "NOT "]), inner.name),
        1 => format!(
            "o.{} {}IN (SELECT {column} FROM {})",
            random.pick(outer.numbers),
            random.pick(&["", "NOT "]),
            inner.name
        ),
        _ => format!("{one} > {}", random.below(4)),
    };
    format!("SELECT o.{} AS c0, {one} AS c1 FROM {} AS o WHERE {filter}{}", outer.key, outer.name, order(random, 2))
}
