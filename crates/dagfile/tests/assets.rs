//! Assets of DAG files: what is read, and what is refused.

#[path = "support/mod.rs"]
mod support;

use serde_json::{Value, json};
use towpath_dagfile::Limits;
use towpath_model::dag::Dag;

fn read(text: &str) -> Result<Dag, String> {
    let mut file = support::read(text, &Limits::default());
    if file.dags.len() == 1 && file.diagnostics.is_empty() {
        return Ok(file.dags.remove(0));
    }
    Err(support::told(&file))
}

fn schedule(text: &str) -> Result<Dag, String> {
    read(&format!(
        "assets: {{orders: \"s3://shop/orders\", customers: {{uri: \"s3://shop/customers\", group: crm}}}}\n\
         schedule: {text}\ntasks: {{a: {{operator: empty}}}}\n"
    ))
}

#[test]
fn schedules_on_assets() {
    for (text, summary, words) in [
        ("orders", "Asset", "when orders is updated"),
        ("s3://shop/orders", "Asset", "when orders is updated"),
        ("[orders, customers]", "Asset", "when orders and customers are updated"),
        ("{any: [orders, {all: [customers, leads]}]}", "Asset", "when orders or (customers and leads) is updated"),
        (
            "{__or__: [{__type__: airflow.sdk.Asset, name: x}, {__and__: [orders, leads]}]}",
            "Asset",
            "when x or (orders and leads) is updated",
        ),
        ("{__type__: airflow.datasets.Dataset, __args__: [\"s3://b\"]}", "Asset", "when s3://b is updated"),
        ("[{__type__: airflow.sdk.Asset, uri: \"s3://b\"}]", "Asset", "when s3://b is updated"),
        ("{assets: orders}", "Asset", "when orders is updated"),
        ("{datasets: [leads]}", "Asset", "when leads is updated"),
        (
            "{assets: {any: [orders, leads]}, cron: \"0 6 * * *\", timezone: Europe/Berlin}",
            "Asset or 0 6 * * *",
            "every day at 06:00 Europe/Berlin, and when orders or leads is updated",
        ),
        (
            "{__type__: airflow.timetables.assets.AssetOrTimeSchedule, assets: [orders], \
          timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: \"0 6 * * *\"}}",
            "Asset or 0 6 * * *",
            "every day at 06:00, and when orders is updated",
        ),
        ("\"@daily\"", "@daily", "every day at 00:00"),
    ] {
        let dag = schedule(text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        let spec = dag.spec();
        assert_eq!((spec.schedule_summary().as_str(), spec.schedule_words().as_str()), (summary, words), "{text}");
    }
    let dag = schedule("{all: [orders, customers]}").unwrap();
    let expression = dag.spec().asset_schedule.as_ref().unwrap().expression();
    assert_eq!(
        expression["all"][1]["asset"],
        json!({"uri": "s3://shop/customers", "name": "customers", "group": "crm"})
    );
}

#[test]
fn a_schedule_on_assets_that_is_wrong_says_where() {
    for (text, expected) in [
        ("{any: []}", "an empty list of assets"),
        ("{any: orders}", "`any` has to be a list of assets"),
        ("{any: [orders], cron: \"@daily\"}", "`cron` cannot stand beside `any`"),
        ("{assets: [orders], cron: \"@continuous\"}", "`@continuous` cannot be mixed with assets"),
        ("{assets: [3]}", "an asset is a name, a URI or a mapping, not the number 3"),
        ("{assets: [{nam: x}]}", "did you mean `name`?"),
        ("{assets: [{group: x}]}", "needs a `name` or a `uri`"),
        ("{assets: [orders], interval: 0s}", "longer than nothing"),
        ("{assets: [{name: x, event_extra: {}}]}", "`event_extra` belongs to an outlet"),
        ("[orders, 5]", "an asset is a name, a URI or a mapping"),
        ("{__type__: airflow.sdk.AssetAlias, name: x}", "an asset cannot be made from `airflow.sdk.AssetAlias`"),
    ] {
        let errors = schedule(text).expect_err(text);
        assert!(errors.contains(expected) && errors.contains("2:"), "{text}: {errors}");
    }
}

#[test]
fn outlets_and_inlets() {
    let dag = read(
        "assets: [{name: orders, uri: \"s3://shop/orders\", extra: {owner: sales}}]\n\
         default_args: {inlets: leads}\n\
         tasks:\n  a:\n    operator: bash\n    bash_command: x\n    outlets:\n      - orders\n      \
         - {__type__: airflow.sdk.Asset, uri: \"s3://x\"}\n      - {name: b, event_extra: {rows: \"{{ result }}\"}}\n  \
         b: {operator: empty, outlets: \"s3://shop/orders\", inlets: [{name: c, group: g}]}\n",
    )
    .unwrap();
    let json = |task: &str| -> Value { serde_json::to_value(dag.task(task).unwrap()).unwrap() };
    let orders = json!({"name": "orders", "uri": "s3://shop/orders", "extra": {"owner": "sales"}});
    assert_eq!(
        json("a")["outlets"],
        json!([orders, {"name": "s3://x", "uri": "s3://x"},
               {"name": "b", "uri": "b", "event_extra": {"rows": "{{ result }}"}}])
    );
    assert_eq!(json("a")["inlets"], json!([{"name": "leads", "uri": "leads"}]));
    assert_eq!(json("b")["outlets"], json!([orders]));
    assert_eq!(json("b")["inlets"], json!([{"name": "c", "uri": "c", "group": "g"}]));
    // A task that updates something goes to a worker, also where it does nothing else.
    assert!(!dag.task("b").unwrap().ends_without_worker());
    for (text, expected) in [
        ("outlets: [x, x]", "asset `x` is named twice"),
        ("outlets: 3", "an asset is a name"),
        ("outlets: [{name: x, event_extra: 3}]", "`event_extra` has to be a mapping"),
        ("outlets: ['']", "1 to 1500 characters"),
        ("inlets: [{name: x, event_extra: {a: 1}}]", "belongs to an outlet"),
    ] {
        let errors = read(&format!("tasks:\n  a: {{operator: empty, {text}}}\n")).expect_err(text);
        assert!(errors.contains(expected), "{text}: {errors}");
    }
}

#[test]
fn what_means_the_same_has_the_same_hash() {
    let hash = |text: &str| schedule(text).unwrap().hash().to_owned();
    assert_eq!(hash("[orders, leads]"), hash("{assets: {all: [\"s3://shop/orders\", {name: leads}]}}"));
    assert_ne!(hash("[orders, leads]"), hash("{any: [orders, leads]}"));
    assert_ne!(hash("[orders]"), hash("{assets: [orders], cron: \"@daily\"}"));
}

#[test]
fn a_param_without_a_default_cannot_be_of_a_dag_that_waits_for_assets() {
    let text = "schedule: [\"s3://x\"]\nparams: {p: {type: string}}\ntasks: {a: {operator: empty}}\n";
    assert!(read(text).unwrap_err().contains("cannot have a schedule"));
}
