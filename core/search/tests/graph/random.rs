//! Traversals of random graphs are what the recursive query that a user would write gives.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A graph with everything that makes one awkward: several edges between two nodes, loops, cycles, NULLs, ids of many types.
#[derive(Debug, Clone)]
struct Case {
    /// How the columns of ids are declared.
    declared: &'static str,
    index: u8,
    edges: Vec<(Option<usize>, Option<usize>, u8, i64)>,
    start: usize,
    direction: &'static str,
    least: i64,
    most: i64,
    kinds: Option<Vec<u8>>,
    since: Option<i64>,
    weight: Option<i64>,
}

const IDS: [&str; 12] = ["1", "2", "3", "'1'", "'a'", "'A'", "'b '", "1.5", "2.0", "x'61'", "''", "-7"];
const DECLARED: [&str; 6] = ["INTEGER", "TEXT", "", "REAL", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"];

fn case() -> impl Strategy<Value = Case> {
    let id = || prop::option::weighted(0.93, 0..IDS.len());
    let edges = prop::collection::vec((id(), id(), 0..3_u8, 0..4_i64), 0..30);
    let shape = (prop::sample::select(&DECLARED), 0..4_u8, edges, 0..IDS.len());
    let kinds = prop::option::of(prop::collection::vec(0..4_u8, 0..3));
    let asked = (prop::sample::select(&["out", "in", "both"]), 0..3_i64, 0..5_i64, kinds);
    let narrowed = (prop::option::of(0..4_i64), prop::option::of(0..3_i64));
    (shape, asked, narrowed).prop_map(
        |((declared, index, edges, start), (direction, least, most, kinds), (since, weight))| Case {
            declared,
            index,
            edges,
            start,
            direction,
            least,
            most,
            kinds,
            since,
            weight,
        },
    )
}

impl Case {
    fn build(&self) -> Connection {
        let conn = open();
        let declared = self.declared;
        conn.execute_batch(&format!(
            "CREATE TABLE nodes(id {declared}, weight INTEGER); CREATE TABLE starts(id {declared});
             CREATE TABLE edges(a {declared}, b {declared}, kind TEXT, since INTEGER)"
        ))
        .unwrap();
        for (id, at) in IDS.iter().zip(0..) {
            conn.execute_batch(&format!("INSERT INTO nodes VALUES({id}, {})", at % 3)).unwrap();
        }
        conn.execute_batch(&format!("INSERT INTO starts VALUES({})", IDS[self.start])).unwrap();
        for (a, b, kind, since) in &self.edges {
            let id = |id: &Option<usize>| id.map_or("NULL", |id| IDS[id]);
            conn.execute_batch(&format!("INSERT INTO edges VALUES({}, {}, 'k{kind}', {since})", id(a), id(b))).unwrap();
        }
        let indexes = [
            "",
            "CREATE INDEX e_a ON edges(a)",
            "CREATE INDEX e_b ON edges(b, a, kind)",
            "CREATE INDEX e_a ON edges(a, kind, b); CREATE INDEX e_b ON edges(b)",
        ];
        conn.execute_batch(indexes[usize::from(self.index)]).unwrap();
        conn.execute_batch(r#"SELECT kith_graph('g', '{"nodes":{"table":"nodes","key":"id"},"edges":"edges","from":"a","to":"b","type":"kind"}')"#).unwrap();
        conn
    }

    fn options(&self) -> serde_json::Value {
        let mut options = serde_json::json!({ "direction": self.direction, "depth": [self.least, self.most] });
        if let Some(kinds) = &self.kinds {
            options["type"] = kinds.iter().map(|kind| format!("k{kind}")).collect();
        }
        if let Some(since) = self.since {
            options["edge_where"] = serde_json::json!({ "since": { ">=": since } });
        }
        if let Some(weight) = self.weight {
            options["node_where"] = serde_json::json!({ "weight": { "!=": weight } });
        }
        options
    }

    /// The edges as the recursive query sees them, both ways where they are followed so.
    fn hops(&self) -> String {
        let mut condition = "true".to_owned();
        if let Some(kinds) = &self.kinds {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("'k{kind}'")).collect();
            condition.push_str(&format!(" AND kind IN ({})", kinds.join(",")));
        }
        if let Some(since) = self.since {
            condition.push_str(&format!(" AND since >= {since}"));
        }
        if self.weight.is_some() {
            condition.push_str(" AND EXISTS(SELECT 1 FROM nodes WHERE nodes.id = FAR AND nodes.weight <> WEIGHT)");
        }
        let weight = self.weight.unwrap_or(0).to_string();
        let way = |near: &str, far: &str| {
            let condition = condition.replace("FAR", &format!("edges.{far}")).replace("WEIGHT", &weight);
            format!("SELECT {near} AS near, {far} AS far FROM edges WHERE {far} IS NOT NULL AND {condition}")
        };
        match self.direction {
            "out" => way("a", "b"),
            "in" => way("b", "a"),
            _ => format!("{} UNION ALL {}", way("a", "b"), way("b", "a")),
        }
    }

    /// One writing for ids that the columns call equal.
    fn canonical(&self, value: Value) -> String {
        match value {
            Value::Real(real) if real.fract() == 0.0 => show(Value::Integer(real as i64)),
            Value::Text(text) if self.declared.ends_with("NOCASE") => format!("'{}'", text.to_ascii_lowercase()),
            Value::Text(text) if self.declared.ends_with("RTRIM") => format!("'{}'", text.trim_end_matches(' ')),
            Value::Text(text) => format!("'{text}'"),
            other => show(other),
        }
    }

    fn reached(&self, conn: &Connection, sql: &str, options: &str) -> Vec<(String, i64)> {
        let mut statement = conn.prepare(sql).unwrap();
        let found = statement.query_map([options], |row| Ok((self.canonical(row.get(0)?), row.get(1)?)));
        let mut found: Vec<(String, i64)> = found.unwrap().collect::<rusqlite::Result<_>>().unwrap();
        found.sort();
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn walk_is_the_recursive_query(case in case()) {
        let conn = case.build();
        let options = case.options().to_string();
        let collation = case.declared.split_once("COLLATE").map_or("BINARY", |(_, name)| name.trim());
        let plain = format!(
            "WITH RECURSIVE hop AS ({}), walk(node, depth) AS (
               SELECT id, 0 FROM starts UNION SELECT hop.far, depth + 1 FROM walk JOIN hop ON hop.near = walk.node WHERE depth < {})
             SELECT node, min(depth) FROM walk WHERE ?1 <> '' GROUP BY node COLLATE {collation} HAVING min(depth) BETWEEN {} AND {}",
            case.hops(), case.most, case.least, case.most
        );
        let ours = "SELECT node, depth, path, edge, type FROM starts, kith_traverse('g', starts.id, ?1)";
        let expected = case.reached(&conn, &plain, &options);
        prop_assert_eq!(case.reached(&conn, ours, &options), expected.clone());
        // Asked again, what was kept of the first time makes no difference; nor does it that fewer columns are read.
        prop_assert_eq!(case.reached(&conn, ours, &options), expected.clone());
        prop_assert_eq!(case.reached(&conn, "SELECT node, depth FROM starts, kith_traverse('g', starts.id, ?1)", &options), expected.clone());
        // A statement that writes finds all of its rows first.
        conn.execute("CREATE TABLE found AS SELECT node, depth FROM starts, kith_traverse('g', starts.id, ?1)", [&options]).unwrap();
        prop_assert_eq!(case.reached(&conn, "SELECT node, depth FROM found WHERE ?1 <> ''", &options), expected);
    }

    #[test]
    fn paths_are_those_of_the_recursive_query(mut case in case()) {
        // Paths tell ids apart by their JSON, so only those are used that have one of their own.
        case.declared = "TEXT";
        for edge in &mut case.edges {
            for end in [&mut edge.0, &mut edge.1] {
                *end = end.map(|id| [3, 4, 5, 6][id % 4]);
            }
        }
        case.start = 4;
        let conn = case.build();
        let mut options = case.options();
        options["unique"] = "path".into();
        let plain = format!(
            "WITH RECURSIVE hop AS ({}), walk(node, depth, path) AS (
               SELECT id, 0, json_array(id) FROM starts UNION ALL
               SELECT hop.far, depth + 1, json_insert(path, '$[#]', hop.far) FROM walk JOIN hop ON hop.near = walk.node
               WHERE depth < {} AND NOT EXISTS(SELECT 1 FROM json_each(walk.path) WHERE value = hop.far))
             SELECT path, depth FROM walk WHERE ?1 <> '' AND depth >= {}",
            case.hops(), case.most, case.least
        );
        let ours = "SELECT path, depth FROM starts, kith_traverse('g', starts.id, ?1)";
        let options = options.to_string();
        prop_assert_eq!(case.reached(&conn, ours, &options), case.reached(&conn, &plain, &options));
    }

    #[test]
    fn every_path_that_is_shown_is_there(case in case()) {
        let conn = case.build();
        let options = case.options().to_string();
        let mut statement = conn.prepare("SELECT node, depth, edge, type FROM starts, kith_traverse('g', starts.id, ?1)").unwrap();
        let mut rows = statement.query([&options]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (node, depth, edge): (Value, i64, Option<i64>) = (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
            if depth == 0 { continue }
            let sql = "SELECT count(*) FROM edges WHERE rowid = ?1 AND kind = ?2 AND (a = ?3 OR b = ?3)";
            let found: i64 = conn.query_row(sql, (edge, row.get::<_, String>(3).unwrap(), node), |row| row.get(0)).unwrap();
            prop_assert_eq!(found, 1);
        }
    }

    #[test]
    fn neighbours_are_the_edges(case in case()) {
        let conn = case.build();
        let mut options = case.options();
        options.as_object_mut().unwrap().remove("depth");
        let plain = format!("SELECT hop.far, 1 FROM starts JOIN ({}) AS hop ON hop.near = starts.id WHERE ?1 <> ''", case.hops());
        let ours = "SELECT node, 1 FROM starts, kith_neighbors('g', starts.id, ?1)";
        let options = options.to_string();
        let count = |found: Vec<(String, i64)>| found.into_iter().fold(BTreeMap::new(), |mut counts, (node, _)| {
            *counts.entry(node).or_insert(0) += 1;
            counts
        });
        prop_assert_eq!(count(case.reached(&conn, ours, &options)), count(case.reached(&conn, &plain, &options)));
    }
}
