//! Assets and the DAGs that update and read them, as the data flows.

use std::collections::BTreeMap;

use towpath_store::{AssetRecord, AssetReference, AssetRole};

use crate::links;
use crate::pages::dag::plan::{MARGIN, SIZES, cut, path, without_cycles};
use crate::view::layers;
use crate::view::text::shown;

/// Assets and DAGs that are drawn; a picture of more tells nothing.
const MOST: usize = 300;

/// What is drawn; numbers in pixels.
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

pub(super) struct Node {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) label: String,
    pub(super) about: String,
    pub(super) href: String,
    pub(super) is_dag: bool,
}

pub(super) struct Edge {
    pub(super) path: String,
    /// A run of the DAG waits for it.
    pub(super) is_awaited: bool,
}

impl Picture {
    /// [`None`] where there is nothing to draw, or too much.
    pub(super) fn of(assets: &[AssetRecord], references: &[AssetReference]) -> Option<Self> {
        let mut dags: BTreeMap<&str, usize> = BTreeMap::new();
        for reference in references {
            let next = assets.len() + dags.len();
            dags.entry(&reference.dag_id).or_insert(next);
        }
        let count = assets.len() + dags.len();
        if references.is_empty() || count > MOST {
            return None;
        }
        let mut kinds: BTreeMap<(usize, usize), bool> = BTreeMap::new();
        for reference in references {
            let Some(asset) = assets.iter().position(|record| record.id == reference.asset_id) else { continue };
            let dag = dags[reference.dag_id.as_str()];
            let edge = if reference.role == AssetRole::Outlet { (dag, asset) } else { (asset, dag) };
            *kinds.entry(edge).or_default() |= reference.role == AssetRole::Schedule;
        }
        // A DAG may read what it updates; the way back is then not drawn.
        let edges = without_cycles(count, &kinds.keys().copied().collect::<Vec<_>>());
        let drawing = layers::draw(&vec![0; count], &edges, SIZES);
        let mut nodes: Vec<Node> = assets
            .iter()
            .zip(&drawing.nodes)
            .map(|(record, place)| {
                let name = shown(&record.asset.name);
                let about = format!("Asset {name}");
                Node { is_dag: false, ..Node::new(*place, &name, about, super::href(record.id)) }
            })
            .collect();
        let mut in_order: Vec<(&str, usize)> = dags.into_iter().collect();
        in_order.sort_unstable_by_key(|(_, node)| *node);
        nodes.extend(in_order.into_iter().map(|(dag_id, node)| {
            let name = shown(dag_id);
            Node::new(drawing.nodes[node], &name, format!("DAG {name}"), links::dag(dag_id))
        }));
        Some(Self {
            width: (drawing.width + 2.0 * MARGIN) as u32,
            height: (drawing.height + 2.0 * MARGIN) as u32,
            nodes,
            edges: edges
                .iter()
                .zip(&drawing.edges)
                .map(|(edge, points)| Edge { path: path(points), is_awaited: kinds[edge] })
                .collect(),
        })
    }
}

impl Node {
    fn new((x, y): (f64, f64), name: &str, about: String, href: String) -> Self {
        Self { x: (x + MARGIN) as i32, y: (y + MARGIN) as i32, label: cut(name), about, href, is_dag: true }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use towpath_model::asset::Asset;

    use super::*;

    #[test]
    fn data_flows_from_left_to_right() {
        let at = DateTime::UNIX_EPOCH;
        let asset = |id: i64, name: &str| AssetRecord {
            id,
            asset: Asset {
                name: name.to_owned(),
                uri: name.to_owned(),
                group: "asset".to_owned(),
                extra: Default::default(),
            },
            created_at: at,
            updated_at: at,
            is_active: true,
            last_event: None,
        };
        let reference = |asset_id: i64, dag_id: &str, role: AssetRole| AssetReference {
            asset_id,
            dag_id: dag_id.to_owned(),
            role,
            task_id: None,
            created_at: at,
        };
        let assets = [asset(7, "raw"), asset(8, "clean")];
        let picture = Picture::of(
            &assets,
            &[
                reference(7, "load", AssetRole::Outlet),
                reference(7, "tidy", AssetRole::Schedule),
                reference(8, "tidy", AssetRole::Outlet),
                reference(8, "report", AssetRole::Inlet),
            ],
        )
        .unwrap();
        let x = |label: &str| picture.nodes.iter().find(|node| node.label == label).unwrap().x;
        let order = ["load", "raw", "tidy", "clean", "report"].map(x);
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        let awaited: Vec<bool> = picture.edges.iter().map(|edge| edge.is_awaited).collect();
        assert_eq!((picture.edges.len(), awaited.iter().filter(|is| **is).count()), (4, 1));
        assert!(Picture::of(&assets, &[]).is_none());
    }
}
