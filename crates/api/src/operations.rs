//! The routes of Airflow's API v2, below `/api/v2`; docs/rest-api.md says what is behind each.

use crate::openapi::routing::{Router, get, patch, post, put};
use crate::{
    absent, backfills, connections, dag_runs, dags, import_errors, jobs, monitor, pools, settings, task_instances,
    tasks, variables, xcoms,
};

/// All of them.
pub(crate) fn router() -> Router {
    Router::new().merge(dags()).merge(runs()).merge(instances()).merge(administration())
}

fn dags() -> Router {
    Router::new()
        .route("/dags", get(dags::list::get).patch(dags::patch::patch_many))
        .route("/dags/{dag_id}", get(dags::get::get).patch(dags::patch::patch).delete(dags::delete::delete))
        .route("/dags/{dag_id}/details", get(dags::details::get))
        .route("/dags/{dag_id}/tasks", get(tasks::list::get))
        .route("/dags/{dag_id}/tasks/{task_id}", get(tasks::get::get))
        .route("/dags/{dag_id}/dagVersions", get(dags::versions::list))
        .route("/dags/{dag_id}/dagVersions/{version_number}", get(dags::versions::get))
        .route("/dags/{dag_id}/clearTaskInstances", post(task_instances::clear::post))
        .route("/dags/{dag_id}/clearDagRuns", post(dag_runs::clear::many))
        .route("/dagTags", get(dags::tags::get))
        .route("/dagStats", get(dags::stats::get))
        .route("/dagSources/{dag_id}", get(dags::source::get))
        .route("/dagWarnings", get(dags::warnings::get))
        .route("/parseDagFile/{file_token}", put(dags::parse::put))
        .route("/importErrors", get(import_errors::list::get))
        .route("/importErrors/{import_error_id}", get(import_errors::list::one))
}

fn runs() -> Router {
    Router::new()
        .route(
            "/dags/{dag_id}/dagRuns",
            get(dag_runs::list::get).post(dag_runs::trigger::post).patch(dag_runs::bulk::patch),
        )
        .route(
            "/dags/{dag_id}/dagRuns/{run_id}",
            // A run may be called `list` as well; only the list is asked for by POST.
            get(dag_runs::get::get)
                .patch(dag_runs::patch::patch)
                .delete(dag_runs::delete::delete)
                .post(dag_runs::list::batch),
        )
        .route("/dags/{dag_id}/dagRuns/{run_id}/clear", post(dag_runs::clear::post))
        .route("/dags/{dag_id}/dagRuns/{run_id}/wait", get(dag_runs::wait::get))
}

/// Below `.../taskInstances`.
fn instances() -> Router {
    let one = Router::new()
        .route(
            "/",
            // As with runs: `list` may be a task.
            get(task_instances::get::get)
                .patch(task_instances::patch::patch)
                .delete(task_instances::delete::delete)
                .post(task_instances::list::batch),
        )
        .route("/dry_run", patch(task_instances::patch::dry_run))
        .route("/dependencies", get(task_instances::dependencies::get))
        .route("/links", get(task_instances::links::get))
        .route("/listMapped", get(task_instances::list::mapped))
        .route("/tries", get(task_instances::tries::get))
        .route("/tries/{task_try_number}", get(task_instances::tries::one))
        .route("/logs/{try_number}", get(task_instances::logs::get))
        .route("/xcomEntries", get(xcoms::list::get).post(xcoms::write::post))
        .route("/xcomEntries/{key}", get(xcoms::get::get).patch(xcoms::write::patch).delete(xcoms::write::delete))
        .route("/{map_index}", get(task_instances::get::mapped).patch(task_instances::patch::mapped))
        .route("/{map_index}/dry_run", patch(task_instances::patch::mapped_dry_run))
        .route("/{map_index}/dependencies", get(task_instances::dependencies::mapped))
        .route("/{map_index}/tries", get(task_instances::tries::mapped))
        .route("/{map_index}/tries/{task_try_number}", get(task_instances::tries::mapped_one));
    Router::new()
        .route(
            "/dags/{dag_id}/dagRuns/{run_id}/taskInstances",
            get(task_instances::list::get).patch(task_instances::bulk::patch),
        )
        .nest("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", one)
}

fn administration() -> Router {
    Router::new()
        .route("/backfills", get(backfills::list).post(backfills::post))
        .route("/backfills/dry_run", post(backfills::dry_run))
        .route("/backfills/{backfill_id}", get(backfills::get))
        // The contract says PUT; the command-line client sends POST.
        .route("/backfills/{backfill_id}/pause", put(backfills::pause).post(backfills::pause))
        .route("/backfills/{backfill_id}/unpause", put(backfills::unpause).post(backfills::unpause))
        .route("/backfills/{backfill_id}/cancel", put(backfills::cancel).post(backfills::cancel))
        .route("/variables", get(variables::list).post(variables::post).patch(variables::bulk))
        .route("/variables/{*key}", get(variables::get).patch(variables::patch).delete(variables::delete))
        .route("/connections", get(connections::list).post(connections::post).patch(connections::bulk))
        .route("/connections/test", post(connections::test))
        .route("/connections/enqueue-test", post(connections::enqueue_test).get(connections::test_of))
        .route("/connections/defaults", post(connections::defaults))
        .route(
            "/connections/{connection_id}",
            get(connections::get).patch(connections::patch).delete(connections::delete),
        )
        .route("/pools", get(pools::list).post(pools::post).patch(pools::bulk))
        .route("/pools/{*pool_name}", get(pools::get).patch(pools::patch).delete(pools::delete))
        .route("/jobs", get(jobs::get))
        .route("/config", get(settings::all))
        .route("/config/section/{section}/option/{option}", get(settings::one))
        .route("/monitor/health", get(monitor::health::airflow))
        .route("/version", get(monitor::version::get))
        .route("/assets/aliases", get(absent::asset_aliases))
        .route("/assets/aliases/{asset_alias_id}", get(absent::asset_alias))
        .route("/plugins", get(absent::plugins))
        .route("/plugins/importErrors", get(absent::plugin_errors))
        .route("/providers", get(absent::providers))
}
