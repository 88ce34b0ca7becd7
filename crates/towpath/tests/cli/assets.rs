//! Data-aware scheduling by the real binary: from an update to the run that has waited for it.

use serde_json::{Value, json};

use crate::environment::Environment;

const SALES: &str = "\
default:
  assets: { orders: 'file://orders.csv' }
sales_orders:
  tasks:
    export:
      operator: bash
      bash_command: echo rows-3
      outlets: [{ name: orders, event_extra: { rows: '{{ result }}' } }]
sales_report:
  schedule: { all: [orders, leads] }
  tasks:
    tell:
      operator: bash
      bash_command: echo \"got {{ triggering_asset_events['orders'][-1].extra.rows }}\"
      outlets: [report]
";

#[test]
fn from_an_update_to_the_run_that_waited() {
    let environment = Environment::new();
    environment.write("dags/sales.yaml", SALES);
    let daemon = environment.up(&[]);
    daemon.until("/api/v2/dags/sales_report", |status, _| status == 200);
    let explained = environment.ok(&["explain", "sales_report"]).stdout;
    assert_eq!(
        explained,
        "sales_report: active\n  waits for updates of orders and leads; come: none; \
         missing: `leads` (never updated), `orders` (never updated)\n    \
         -> towpath assets show leads, or tell of an update: towpath assets trigger leads\n"
    );
    let shown = environment.ok(&["dags", "show", "sales_report"]).stdout;
    assert!(shown.contains("Asset (when orders and leads are updated)"), "{shown}");
    environment.ok(&["dags", "trigger", "sales_orders", "--wait"]);
    let queued = environment.ok(&["assets", "queued", "-o", "json"]).json();
    assert_eq!(
        (&queued[0]["asset"], &queued[0]["events"], queued.as_array().unwrap().len()),
        (&json!("orders"), &json!(1), 1)
    );
    let told = environment.ok(&["assets", "trigger", "leads", "--extra", "{\"by\": \"hand\"}"]).stdout;
    assert!(told.ends_with("of asset `leads`: queued for sales_report\n"), "{told}");
    let runs = daemon.until("/api/v2/dags/sales_report/dagRuns", |_, runs| runs["dag_runs"][0]["state"] == "success");
    assert_eq!((&runs["total_entries"], &runs["dag_runs"][0]["run_type"]), (&json!(1), &json!("asset_triggered")));
    let log = environment.ok(&["tasks", "logs", "sales_report", "tell"]).stdout;
    assert!(log.contains("got rows-3"), "{log}");
    let events = environment.ok(&["assets", "events", "-o", "json"]).json();
    let told: Vec<(&str, &Value)> =
        events.as_array().unwrap().iter().map(|event| (event["asset"].as_str().unwrap(), &event["dag_id"])).collect();
    assert_eq!(told, [("report", &json!("sales_report")), ("leads", &Value::Null), ("orders", &json!("sales_orders"))]);
    let list = environment.ok(&["assets", "list"]).stdout;
    assert!(list.contains("file://orders.csv") && list.contains("sales_orders.export"), "{list}");
    let shown = environment.ok(&["assets", "show", "file://orders.csv", "-o", "json"]).json();
    assert_eq!(shown["waited_for_by"], json!(["sales_report"]));
    environment.ok(&["assets", "trigger", "orders"]);
    let cleared = environment.ok(&["assets", "clear-queue", "sales_report", "--asset", "orders"]).stdout;
    assert_eq!(cleared, "1 update will not start DAG `sales_report`\n");
    for (arguments, expected) in [
        (&["assets", "show", "ordrs"][..], "error: asset `ordrs` does not exist; did you mean `orders`?\n"),
        (
            &["assets", "clear-queue", "sales_reprot"],
            "error: DAG `sales_reprot` does not exist; did you mean `sales_report`?\n",
        ),
    ] {
        let ended = environment.run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (2, expected), "{arguments:?}");
    }
}
