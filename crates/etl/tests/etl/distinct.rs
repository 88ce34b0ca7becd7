//! Counts of different values, which are two groupings, next to the same counted by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use crate::support::{Kitchen, through};

const CSV: &str = "g,x,y,v\na,1,p,1.5\na,1,q,2.5\na,2,p,\na,,p,4\nb,,,\n,3,r,1\n,3,r,2\n";

#[test]
fn counts_of_different_values_stand_beside_other_aggregates() {
    let columns = json!({
        "xs": "count(distinct x)", "ys": "count(distinct y)", "n": "count(*)", "vs": "count(v)", "total": "sum(v)",
        "mean": "avg(v)", "least": "min(v)", "most": "max(distinct y)",
        "some": "count(distinct x) filter (where y = 'p')", "ps": "count(*) filter (where y = 'p')",
    });
    let found = through(CSV, &json!([{"aggregate": {"by": "g", "columns": columns}}, {"sort": "g"}]));
    assert_eq!(
        found,
        "g,xs,ys,n,vs,total,mean,least,most,some,ps\n\
         a,2,2,4,3,8.0,2.6666666666666665,1.5,q,2,3\n\
         b,0,0,1,0,NULL,NULL,NULL,NULL,0,0\n\
         NULL,1,1,2,2,3.0,1.5,1.0,r,0,0\n"
    );
    // Expressions as keys, and what is built on aggregates.
    let found = through(
        CSV,
        &json!([{"aggregate": {"by": {"key": "coalesce(g, 'none')"},
            "columns": {"share": "count(distinct x) * 100 / count(*)", "v": "count(distinct y) + count(distinct x)"},
            "having": "count(distinct x) > 0"}}, {"sort": "key"}]),
    );
    assert_eq!(found, "key,share,v\na,50,4\nnone,50,2\n");
    // Without groups, and without rows.
    let all = json!([{"aggregate": {"columns": {"xs": "count(distinct x)", "ys": "count(distinct y)", "n": "count(*)", "m": "avg(v)"}}}]);
    assert_eq!(through(CSV, &all), "xs,ys,n,m\n3,3,7,2.2\n");
    assert_eq!(through("g,x,y,v\n", &json!([{"cast": {"v": "float64"}}, all[0].clone()])), "xs,ys,n,m\n0,0,0,NULL\n");
    let grouped = json!([{"cast": {"v": "float64"}},
        {"aggregate": {"by": "g", "columns": {"xs": "count(distinct x)", "n": "count(*)", "m": "avg(v)"}}}]);
    assert_eq!(through("g,x,y,v\n", &grouped), "g,xs,n,m\n");
    // What has no parts stays as it was.
    let found = through(
        CSV,
        &json!([{"aggregate": {"by": "g", "columns": {"xs": "count(distinct x)", "mid": "median(v)", "n": "count(*)"}}}, {"sort": "g"}]),
    );
    assert_eq!(found, "g,xs,mid,n\na,2,2.5,4\nb,0,NULL,1\nNULL,1,1.5,2\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn they_are_what_a_set_says(rows in prop::collection::vec((0..4_u8, prop::option::of(0..6_i64), prop::option::of(0..5_i64)), 1..60)) {
        let mut csv = "g,x,y\n".to_owned();
        let mut groups: BTreeMap<u8, (BTreeSet<i64>, BTreeSet<i64>, u64, i64)> = BTreeMap::new();
        for (g, x, y) in &rows {
            let text = |value: &Option<i64>| value.map_or_else(String::new, |value| value.to_string());
            writeln!(csv, "{g},{},{}", text(x), text(y)).unwrap();
            let group = groups.entry(*g).or_default();
            group.0.extend(x);
            group.1.extend(y);
            group.2 += 1;
            group.3 += y.unwrap_or(0);
        }
        let mut expected = "g,xs,ys,n,total\n".to_owned();
        for (g, (xs, ys, n, total)) in groups {
            writeln!(expected, "{g},{},{},{n},{total}", xs.len(), ys.len()).unwrap();
        }
        let kitchen = Kitchen::new();
        kitchen.file("in.csv", csv);
        let found = kitchen.steps(&json!({"csv": "in.csv", "columns": {"x": "int64", "y": "int64"}}), &json!([
            {"aggregate": {"by": "g", "columns": {"xs": "count(distinct x)", "ys": "count(distinct y)", "n": "count(*)",
                "total": "coalesce(sum(y), 0)"}}}, {"sort": "g"}]));
        prop_assert_eq!(found, expected);
    }
}
