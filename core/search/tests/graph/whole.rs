//! Components, page ranks and communities of whole graphs.

use proptest::prelude::*;

use super::*;

#[test]
fn nodes_without_edges_count_where_the_node_table_is_known() {
    let conn = social();
    let components = "SELECT node, component, size, node_table FROM kith_components('social')";
    assert_eq!(
        rows(&conn, components),
        ["1 1 4 people", "2 1 4 people", "3 1 4 people", "4 1 4 people", "5 2 1 people"]
    );
    let strong = "SELECT node, component, size FROM kith_components('social', '{\"strong\":true}') ORDER BY node";
    assert_eq!(rows(&conn, strong)[..3], ["1 1 3", "2 1 3", "3 1 3"]);
    let some = "SELECT node, component FROM kith_components('social', '{\"type\":\"likes\",\"node_where\":{\"age\":{\">\":25}}}')";
    assert_eq!(rows(&conn, some), ["1 1", "2 1", "4 1", "5 2"]);
    rows(&conn, r#"SELECT kith_graph('bare', '{"edges":"follows","from":"src","to":"dst"}')"#);
    assert_eq!(rows(&conn, "SELECT count(*) FROM kith_components('bare')"), ["5"]);
    conn.execute_batch("DELETE FROM follows; DELETE FROM people").unwrap();
    for question in ["kith_components", "kith_pagerank", "kith_communities"] {
        assert_eq!(rows(&conn, &format!("SELECT * FROM {question}('social')")).len(), 0);
    }
}

/// Zachary's karate club: "An information flow model for conflict and fission in small groups", 1977; the 78 ties of its 34 members.
const KARATE: &str = "1 2,1 3,2 3,1 4,2 4,3 4,1 5,1 6,1 7,5 7,6 7,1 8,2 8,3 8,4 8,1 9,3 9,3 10,1 11,5 11,6 11,1 12,1 13,4 13,1 14,2 14,3 14,4 14,6 17,7 17,1 18,2 18,1 20,2 20,1 22,2 22,24 26,25 26,3 28,24 28,25 28,3 29,24 30,27 30,2 31,9 31,1 32,25 32,26 32,29 32,3 33,9 33,15 33,16 33,19 33,21 33,23 33,24 33,30 33,31 33,32 33,9 34,10 34,14 34,15 34,16 34,19 34,20 34,21 34,23 34,24 34,27 34,28 34,29 34,30 34,31 34,32 34,33 34";

fn karate() -> (Connection, Vec<(usize, usize)>) {
    let conn = open();
    conn.execute_batch("CREATE TABLE ties(a INTEGER, b INTEGER)").unwrap();
    let ties: Vec<(usize, usize)> = KARATE
        .split(',')
        .map(|tie| tie.split_once(' ').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap())
        .collect();
    for (a, b) in &ties {
        conn.execute("INSERT INTO ties VALUES(?1, ?2)", (*a as i64, *b as i64)).unwrap();
    }
    rows(&conn, r#"SELECT kith_graph('club', '{"edges":"ties","from":"a","to":"b","undirected":true}')"#);
    (conn, ties)
}

/// Newman's modularity of a division.
fn modularity(ties: &[(usize, usize)], group: impl Fn(usize) -> i64) -> f64 {
    let count = ties.len() as f64;
    let mut degrees = std::collections::HashMap::new();
    for (a, b) in ties {
        *degrees.entry(group(*a)).or_insert(0.0) += 1.0;
        *degrees.entry(group(*b)).or_insert(0.0) += 1.0;
    }
    let inside = ties.iter().filter(|(a, b)| group(*a) == group(*b)).count() as f64 / count;
    inside - degrees.values().map(|degree: &f64| (degree / (2.0 * count)).powi(2)).sum::<f64>()
}

#[test]
fn communities_of_the_karate_club_are_as_good_as_published() {
    let (conn, ties) = karate();
    assert_eq!(ties.len(), 78);
    let found = |seed: u32| -> Vec<i64> {
        let sql = format!("SELECT community FROM kith_communities('club', '{{\"seed\":{seed}}}') ORDER BY node");
        rows(&conn, &sql).iter().map(|community| community.parse().unwrap()).collect()
    };
    for seed in 1..20 {
        let groups = found(seed);
        assert_eq!(groups.len(), 34);
        // The best division there is has 0.4198; the paper on the method gives 0.42 for it.
        let reached = modularity(&ties, |node| groups[node - 1]);
        assert!(reached > 0.385 && reached < 0.4199, "seed {seed}: {reached}");
        assert_eq!(groups, found(seed), "the same seed gives the same groups");
    }
    assert!((1..20).any(|seed| modularity(&ties, |node| found(seed)[node - 1]) > 0.4155));
    let sizes = "SELECT DISTINCT community, size FROM kith_communities('club') ORDER BY 1";
    let total: i64 = rows(&conn, sizes).iter().map(|row| row.split_once(' ').unwrap().1.parse::<i64>().unwrap()).sum();
    assert_eq!(total, 34);
    let coarse = rows(&conn, "SELECT max(community) FROM kith_communities('club', '{\"resolution\":0.1}')");
    assert_eq!(coarse, ["1"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn components_and_ranks_are_those_of_the_definition(edges in prop::collection::vec((0..8_usize, 0..8_usize, 0..4_u32), 1..20), is_weighted: bool) {
        let conn = open();
        conn.execute_batch("CREATE TABLE n(id INTEGER PRIMARY KEY); CREATE TABLE e(a INTEGER, b INTEGER, w REAL);
          INSERT INTO n VALUES(0), (1), (2), (3), (4), (5), (6), (7)").unwrap();
        for (a, b, weight) in &edges {
            conn.execute("INSERT INTO e VALUES(?1, ?2, ?3)", (*a as i64, *b as i64, *weight)).unwrap();
        }
        rows(&conn, r#"SELECT kith_graph('g', '{"nodes":"n","edges":"e","from":"a","to":"b","weight":"w"}')"#);

        // Reachability by repeated squaring of the relation.
        let mut reach = [[false; 8]; 8];
        for (node, row) in reach.iter_mut().enumerate() { row[node] = true; }
        for &(a, b, _) in &edges { reach[a][b] = true; }
        let close = |mut reach: [[bool; 8]; 8]| {
            for _ in 0..8 { for a in 0..8 { for b in 0..8 { for c in 0..8 {
                reach[a][c] |= reach[a][b] && reach[b][c];
            } } } }
            reach
        };
        let strong = close(reach);
        let mut both = reach;
        for a in 0..8 { for b in 0..8 { both[a][b] |= reach[b][a]; } }
        let weak = close(both);
        for (options, expected) in [("{}", &weak), ("{\"strong\":true}", &strong)] {
            let found = rows(&conn, &format!("SELECT component, size FROM kith_components('g', '{options}') ORDER BY node"));
            for a in 0..8 {
                for b in 0..8 {
                    prop_assert_eq!(found[a] == found[b] , expected[a][b] && expected[b][a], "{} and {} {}", a, b, options);
                }
                let size = (0..8).filter(|&b| expected[a][b] && expected[b][a]).count().to_string();
                let ending = format!(" {size}");
                prop_assert!(found[a].ends_with(&ending), "{} {}", found[a], size);
            }
        }

        // The dense matrix, multiplied until it stands.
        let weight = |weight: u32| if is_weighted { f64::from(weight) } else { 1.0 };
        let mut matrix = [[0.0; 8]; 8];
        for &(a, b, w) in &edges { matrix[a][b] += weight(w); }
        for row in &mut matrix {
            let sum: f64 = row.iter().sum();
            for cell in row.iter_mut() {
                *cell = if sum > 0.0 { 0.85 * *cell / sum + 0.15 / 8.0 } else { 1.0 / 8.0 };
            }
        }
        let mut ranks = [1.0 / 8.0; 8];
        for _ in 0..500 {
            let mut next = [0.0; 8];
            for a in 0..8 { for b in 0..8 { next[b] += ranks[a] * matrix[a][b]; } }
            ranks = next;
        }
        let options = serde_json::json!({ "weighted": is_weighted, "tolerance": 1e-12 });
        let found = rows(&conn, &format!("SELECT node, rank FROM kith_pagerank('g', '{options}')"));
        let mut last = f64::INFINITY;
        for row in &found {
            let (node, rank) = row.split_once(' ').unwrap();
            let rank: f64 = rank.parse().unwrap();
            prop_assert!((rank - ranks[node.parse::<usize>().unwrap()]).abs() < 1e-9, "{} has {} in place of {:?}", node, rank, ranks);
            prop_assert!(rank <= last);
            last = rank;
        }
        prop_assert_eq!(found.len(), 8);
    }
}
