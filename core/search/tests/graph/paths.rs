//! Shortest paths, against every other way of finding them.

use proptest::prelude::*;

use super::*;

#[test]
fn path_is_told_step_by_step() {
    let conn = social();
    let steps = "SELECT step, node, edge, type, weight, cost, edge_table, node_table, path FROM kith_shortest_path('social', 1, 4)";
    assert_eq!(
        rows(&conn, steps),
        ["0 1 - - - 0 - people [1]", "1 2 1 knows 1 1 follows people [1,2]", "2 4 4 likes 1 2 follows people [1,2,4]"]
    );
    let path =
        |arguments: &str| rows(&conn, &format!("SELECT node FROM kith_shortest_path('social', {arguments})")).join(" ");
    assert_eq!(path("1, 1"), "1");
    assert_eq!(path("4, 1"), "");
    assert_eq!(path("1, 99"), "");
    assert_eq!(path("1, NULL"), "");
    assert_eq!(path("4, 1, '{\"direction\":\"in\"}'"), "4 2 1");
    assert_eq!(path("4, 3, '{\"direction\":\"both\"}'"), "4 2 3");
    assert_eq!(path("1, 4, '{\"depth\":1}'"), "");
    assert_eq!(path("1, 4, '{\"depth\":2}'"), "1 2 4");
    assert_eq!(path("1, 3, '{\"node_where\":{\"age\":{\"<\":35}}}'"), "");
    assert_eq!(path("1, 3, '{\"type\":\"likes\"}'"), "");
}

#[test]
fn weights_that_are_no_weights_are_refused() {
    let conn = open();
    conn.execute_batch("CREATE TABLE e(a INTEGER, b INTEGER, w); INSERT INTO e VALUES(1, 2, 1), (2, 3, -1.5), (1, 4, NULL), (5, 6, 'x')").unwrap();
    rows(&conn, r#"SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b","weight":"w"}')"#);
    for (from, to, weight) in [(2, 3, "-1.5"), (1, 4, "null"), (5, 6, "\"x\"")] {
        let said = error(&conn, &format!("SELECT node FROM kith_shortest_path('g', {from}, {to})"));
        assert!(
            said.starts_with(&format!(
                "graph g: an edge of e has the weight {weight}; a weight must be a number that is not negative"
            )),
            "{said}"
        );
    }
    assert_eq!(rows(&conn, "SELECT node FROM kith_shortest_path('g', 1, 3, '{\"weighted\":false}')"), ["1", "2", "3"]);
    assert!(error(&conn, "SELECT node FROM kith_pagerank('g')").contains("has the weight"));
}

/// Costs between all pairs (Floyd and Warshall), by a rule that shares nothing with the search.
fn costs(count: usize, edges: &[(usize, usize, f64)]) -> Vec<Vec<f64>> {
    let mut costs = vec![vec![f64::INFINITY; count]; count];
    for (node, row) in costs.iter_mut().enumerate() {
        row[node] = 0.0;
    }
    for &(from, to, weight) in edges {
        costs[from][to] = costs[from][to].min(weight);
    }
    for middle in 0..count {
        for from in 0..count {
            for to in 0..count {
                costs[from][to] = costs[from][to].min(costs[from][middle] + costs[middle][to]);
            }
        }
    }
    costs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_path_is_shorter(edges in prop::collection::vec((0..9_usize, 0..9_usize, 0..5_u32), 0..25), direction in 0..3_usize, is_weighted: bool) {
        let conn = open();
        conn.execute_batch("CREATE TABLE e(a INTEGER, b INTEGER, w REAL); CREATE INDEX e_a ON e(a)").unwrap();
        for (a, b, weight) in &edges {
            conn.execute("INSERT INTO e VALUES(?1, ?2, ?3)", (*a as i64, *b as i64, f64::from(*weight) / 2.0)).unwrap();
        }
        rows(&conn, r#"SELECT kith_graph('g', '{"edges":"e","from":"a","to":"b","weight":"w"}')"#);
        let known: Vec<_> = edges.iter().flat_map(|&(a, b, weight)| {
            let weight = if is_weighted { f64::from(weight) / 2.0 } else { 1.0 };
            let (there, back) = ((a, b, weight), (b, a, weight));
            match direction { 0 => vec![there], 1 => vec![back], _ => vec![there, back] }
        }).collect();
        let costs = costs(9, &known);
        let options = serde_json::json!({ "weighted": is_weighted, "direction": (["out", "in", "both"][direction]) }).to_string();
        let mut statement = conn.prepare("SELECT node, cost, weight FROM kith_shortest_path('g', ?1, ?2, ?3)").unwrap();
        for (from, row) in costs.iter().enumerate() {
            for (to, &shortest) in row.iter().enumerate() {
                let steps = statement.query_map((from as i64, to as i64, &options), |row| Ok((row.get::<_, i64>(0)? as usize, row.get::<_, f64>(1)?, row.get::<_, Option<f64>>(2)?)));
                let steps: Vec<_> = steps.unwrap().collect::<rusqlite::Result<_>>().unwrap();
                let cost = steps.last().map_or(f64::INFINITY, |(_, cost, _)| *cost);
                prop_assert_eq!(cost, shortest, "from {} to {}", from, to);
                if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
                    prop_assert_eq!((first.0, last.0), (from, to));
                }
                for pair in steps.windows(2) {
                    let step = pair[1].1 - pair[0].1;
                    let is_edge = known.iter().any(|&(a, b, weight)| (a, b) == (pair[0].0, pair[1].0) && weight == step);
                    prop_assert!(is_edge, "there is no edge from {} to {} of weight {}", pair[0].0, pair[1].0, step);
                    if is_weighted { prop_assert_eq!(pair[1].2, Some(step)); }
                }
            }
        }
    }
}
