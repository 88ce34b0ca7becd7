//! What tasks have left as data, on the page of a task instance and on the tab of a DAG.

use axum::http::StatusCode;

use crate::Site;
use crate::fixture::World;

#[tokio::test]
async fn data_sets_are_shown() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        world.play_sets().await;
        let site = Site::of(&world);
        let run = "/dags/sets/runs/first/tasks";
        let page = site.get(&format!("{run}/set")).await;
        assert_eq!(page.status, StatusCode::OK);
        page.shows(&[
            "4\u{202f}000 rows, 3 columns, 81.9 kB in 2 files",
            "<code>/s/sets</code>",
            "the first 3 of 4\u{202f}000 rows",
            "<td class=\"number\">1</td>",
            "<span class=\"muted\">null</span>",
            "<td class=\"number\">2000.5</td>",
            // Three of four values are the same.
            "<rect width=\"75\" height=\"8\"/></svg> <span class=\"number\">3\u{202f}000</span>",
            "12 rows put aside",
            "<code>gap: required</code></th><td class=\"number\">9</td>",
            "[&#34;id: int64&#34;]",
            "Measured plan",
            "<th scope=\"row\">\u{a0}\u{a0}validate</th>",
            "80.0 ms",
            "<rect width=\"50\" height=\"8\"/>",
        ]);
        assert!(!page.text.contains("<img src=x") && !page.text.contains("style="), "{}", page.text);
        assert!(page.text.len() < 200_000);
        site.get(&format!("{run}/gone")).await.shows(&["clear task `gone`", "4\u{202f}000 rows, 3 columns"]);
        site.get(&format!("{run}/stored")).await.shows(&["is a load: its rows are in `table orders`"]);
        for without in ["plain", "waits"] {
            let page = site.get(&format!("{run}/{without}")).await;
            assert!(!page.text.contains("<h2>Data"), "{}", page.text);
        }
        let tab = site.get("/dags/sets/data").await;
        assert_eq!(tab.status, StatusCode::OK);
        tab.shows(&[
            "aria-current=\"page\">Data</a>",
            "href=\"/dags/sets/runs/first/tasks/set#data\"",
            "<code>orders.csv</code>",
            "table orders",
            "title=\"int64\">id</span>",
            ">nothing</td>",
        ]);
        assert!(!tab.text.contains("<img src=x") && !tab.text.contains(">plain</a>"), "{}", tab.text);
        site.get("/dags/sets/data?run=first").await.shows(&["81.9 kB"]);
        assert_eq!(site.get("/dags/sets/data?run=nope").await.status, StatusCode::NOT_FOUND);
        site.get("/dags/quiet/data").await.shows(&["No run yet"]);
        site.get("/dags/etl/data").await.shows(&["No task of this run reads or leaves data"]);
    }
}
